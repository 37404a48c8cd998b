"""Streams the shipped results through the gateway, as any runner would send its own."""

import json
from collections.abc import Iterator
from pathlib import Path

from servemark.client.channel import Client
from servemark.client.load import load_records
from servemark.client.records import ResultRecord
from servemark.stack.errors import StackError
from servemark.stack.seed import Progress

RESULT_FOLDERS = ("results", "results-simulated")


def read_results(folder: Path) -> Iterator[ResultRecord]:
    """Every shipped result, file by file in order of name. Raises RecordError for a wrong line."""
    for name in RESULT_FOLDERS:
        for path in sorted((folder / name).glob("*.jsonl")):
            for line in path.read_text().splitlines():
                if line.strip():
                    yield ResultRecord.from_json(json.loads(line))


def load_results(client: Client, folder: Path, progress: Progress) -> int:
    """Streams every shipped result and returns how many are stored now.

    Raises StackError where one is refused: what we ship has to fit the catalog we ship.
    """
    records = list(read_results(folder))
    summary = load_records(
        client, records, on_progress=lambda done: progress(f"{done} of {len(records)}")
    )
    if summary.rejected:
        first = summary.rejections[0]
        raise StackError(
            f"{summary.rejected} shipped results were refused; the first: {first.detail}"
        )
    return int(summary.stored + summary.duplicates)
