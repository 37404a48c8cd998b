"""No secret of a command line is kept with results."""

import pytest

from servemark.cli.masking import mask_command


@pytest.mark.parametrize(
    ("command", "masked"),
    [
        ("vllm --api-key sk-abc --model m", "vllm --api-key *** --model m"),
        ("vllm --api-key=abc", "vllm --api-key=***"),
        ("tool --openaiApiKey abc", "tool --openaiApiKey ***"),
        ("tool --hf-token abc --max-tokens 5", "tool --hf-token *** --max-tokens 5"),
        ("tool --tokenizer t --num-tokens=9", "tool --tokenizer t --num-tokens=9"),
        ("tool --password a --token b", "tool --password *** --token ***"),
        ("tool --url http://me:pw@host:8000/v1", "tool --url http://***@host:8000/v1"),
        ("tool http://host/v1?api_key=abc&n=1", "tool http://host/v1?api_key=***&n=1"),
        ("env OPENAI_API_KEY=abc N=1 vllm", "env OPENAI_API_KEY=*** N=1 vllm"),
        ("tool --header X-Team=a B=c --n 1", "tool --header X-Team=*** B=*** --n 1"),
        ("tool --data sk-0123456789abcdef", "tool --data ***"),
        ("tool --opaque from-the-environment", "tool --opaque ***"),
        ("tool --mode short", "tool --mode short"),
    ],
)
def test_secrets_are_masked_and_nothing_else(command: str, masked: str) -> None:
    environment = {"MY_TOKEN": "from-the-environment", "A_KEY": "short", "HOME": "/root"}
    assert " ".join(mask_command(command.split(), environment)) == masked


@pytest.mark.parametrize(
    "word",
    [
        "Authorization: Bearer s3cret",
        '{"headers": {"Authorization": "Bearer s3cret"}}',
        '{"api_key": "s3cret", "n": 1}',
        "{'apiKey': 's3cret'}",
        "--extra-body=token=s3cret",
        "https://s3cret@host/",
    ],
)
def test_secrets_inside_of_a_word_are_masked(word: str) -> None:
    (masked,) = mask_command([word], {})
    assert "s3cret" not in masked
    assert "***" in masked


def test_a_header_is_masked_whatever_its_name() -> None:
    assert mask_command(["curl", "-H", "X-Team: s3cret"], {}) == ["curl", "-H", "X-Team:***"]
