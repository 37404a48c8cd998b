"""A command line without its secrets."""

import re
from collections.abc import Mapping, Sequence

MASK = "***"

_SECRET_WORDS = {
    "key",
    "apikey",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "auth",
    "authorization",
    "bearer",
    "credential",
    "credentials",
    "cookie",
}
_HEADER_WORDS = {"header", "headers"}
_MIN_SECRET = 6
_WORDS = re.compile(r"[^A-Za-z0-9]+")
# user:password@ of an address.
_USERINFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
# What comes before and after the sign in name=value, name: value and "name": "value".
_NAME = re.compile(r"""([A-Za-z][\w.-]*)["']?\s*[=:]\s*["']?""")
_VALUE = re.compile(r"""(?:Bearer |Basic )?[^\s"'&,;}]*""")
# Tokens that say themselves what they are.
_SHAPES = re.compile(
    r"\b(?:Bearer|Basic)\s+\S+|\b(?:sk|pk|hf|sm|ghp|gho|ghs|glpat|nvapi|xox[abp])[-_][\w-]{8,}"
    r"|\bAKIA[0-9A-Z]{12,}|\beyJ[\w-]+\.[\w-]+(?:\.[\w-]+)?"
)


def mask_command(command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The words of a command line, with `***` for whatever may be a secret.

    That is the value of an option, header, variable or field with a name such as api-key or token,
    all values of headers, the user of an address, what has the shape of a token, and whatever a
    variable of the environment with such a name holds. Rather too much than too little.
    """
    secrets = [
        value
        for name, value in environment.items()
        if _is_secret(name) and len(value) >= _MIN_SECRET
    ]
    masked = []
    hides_next = hides_pairs = False
    for word in command:
        if word.startswith("-"):
            option, has_value, value = word.partition("=")
            hides_pairs = option == "-H" or bool(_HEADER_WORDS & _words(option))
            hides_next = _is_secret(option) and not has_value
            if has_value and _is_secret(option):
                masked.append(f"{option}={MASK}")
            elif has_value and hides_pairs:
                masked.append(f"{option}={_mask_header(value)}")
            else:
                masked.append(_mask_word(word, secrets))
        elif hides_next:
            masked.append(MASK)
            hides_next = False
        else:
            masked.append(_mask_header(word) if hides_pairs else _mask_word(word, secrets))
    return masked


def _words(name: str) -> set[str]:
    """The words of a name: `--api-key`, `HF_TOKEN` and `apiKey` all have one."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name)
    return {word.lower() for word in _WORDS.split(spaced) if word}


def _is_secret(name: str) -> bool:
    return bool(_SECRET_WORDS & _words(name))


def _mask_header(text: str) -> str:
    name, separator, _ = re.match(r"([^:=]*)([:=]?)(.*)", text, re.S).groups()  # type: ignore[union-attr]
    return f"{name}{separator}{MASK}" if separator else MASK


def _mask_word(word: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        word = word.replace(secret, MASK)
    word = _USERINFO.sub(MASK, word)
    word = _SHAPES.sub(MASK, word)
    return _mask_values(word)


def _mask_values(word: str) -> str:
    parts, end = [], 0
    for found in _NAME.finditer(word):
        if found.start() >= end and _is_secret(found[1]):
            parts += [word[end : found.end()], MASK]
            value = _VALUE.match(word, found.end())
            end = value.end() if value else found.end()
    return "".join([*parts, word[end:]])
