"""Versions and precisions as our catalog spells them, out of the texts that tools write."""

import re

# A release, with what Python's and the engines' own version schemes append to it.
_VERSION = re.compile(r"v?(\d+\.\d+[0-9a-z.]*(?:-(?:dev|rc|alpha|beta)[0-9.]*)?(?:\+[0-9a-z.]+)?)")
_DTYPES = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}


def version(value: object) -> str | None:
    """The release a text begins with, without its v; None if it begins with none."""
    if not isinstance(value, str):
        return None
    found = _VERSION.match(value.strip())
    return found[1].rstrip(".") if found else None


def image_version(image: object) -> str | None:
    """The release in a container image's tag; None for `latest`, nightlies and digests."""
    if not isinstance(image, str) or ":" not in image:
        return None
    tag = image.rsplit(":", 1)[1]
    return None if "/" in tag else version(tag)


def precision(value: object) -> str | None:
    """A data type's short name, such as bf16 for torch.bfloat16; others as they are."""
    if not isinstance(value, str) or not value.strip():
        return None
    name = value.strip().lower().removeprefix("torch.")
    return _DTYPES.get(name, name)
