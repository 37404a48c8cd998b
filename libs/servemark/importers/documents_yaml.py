"""YAML files, with bounds on what a small one can unfold to."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from servemark.importers.base import NOT_YAML, PARSER_MISSING, Document, Rejection

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 100
MAX_NODES = 1_000_000
"""Nodes with every alias unfolded: a page of aliases can stand for billions."""


def read_yaml(path: Path, file_time: datetime | None) -> Iterator[Document | Rejection]:
    """The documents of a YAML file. Times stay texts, as in JSON."""
    try:
        import yaml
    except ModuleNotFoundError:
        yield Rejection(PARSER_MISSING, "YAML needs PyYAML: pip install pyyaml.", str(path))
        return
    if path.stat().st_size > MAX_BYTES:
        yield Rejection(
            NOT_YAML, f"A YAML file may have {MAX_BYTES // 2**20} MiB; write JSON Lines.", str(path)
        )
        return
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    try:
        _check_bounds(content)
        for data in yaml.load_all(content, Loader=_loader()):
            if data is not None:
                yield Document(data, path, digest, None, file_time)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        yield Rejection(NOT_YAML, f"Not YAML: {' '.join(str(error).split())}.", str(path))


@cache
def _loader() -> Any:
    """PyYAML's safe loader without its times: they would lose their zone, and JSON has none."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in Loader.yaml_implicit_resolvers.items()
    }
    return Loader


def _check_bounds(content: bytes) -> None:
    """Raises ValueError where nesting or aliases unfold to more than the bounds.

    The events are read one by one: whatever built the values would recurse first.
    """
    import yaml

    sizes, anchors, open_anchors = [0], dict[str, int](), list[str | None]()
    for event in yaml.parse(content, Loader=_loader()):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in open_anchors:
                raise ValueError(f"the alias *{event.anchor} contains itself")
            # An anchor nobody set is the loader's to report.
            sizes[-1] += anchors.get(event.anchor, 1)
        elif isinstance(event, yaml.ScalarEvent):
            sizes[-1] += 1
            if event.anchor is not None:
                anchors[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            sizes.append(1)
            open_anchors.append(event.anchor)
            if len(sizes) > MAX_DEPTH:
                raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            size, anchor = sizes.pop(), open_anchors.pop()
            sizes[-1] += size
            if anchor is not None:
                anchors[anchor] = size
        if sizes[-1] > MAX_NODES:
            raise ValueError(f"it unfolds to more than {MAX_NODES} values")
