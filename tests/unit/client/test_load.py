from collections.abc import Iterator
from pathlib import Path

import pytest

from servemark.client.channel import Client, connect
from servemark.client.load import load_records
from tests.support.ingest_protocol import IngestProtocol, serve
from tests.unit.client.test_records import record


@pytest.fixture
def protocol(tmp_path: Path) -> IngestProtocol:
    return IngestProtocol(tmp_path / "state")


@pytest.fixture
def client(protocol: IngestProtocol) -> Iterator[Client]:
    server, port = serve(protocol)
    with connect(f"127.0.0.1:{port}") as made:
        yield made
    server.stop(None).wait()


def test_records_of_several_tools_are_stored_and_a_repeat_stores_nothing_twice(
    client: Client, protocol: IngestProtocol
) -> None:
    records = [record(tool=tool, ttft_p50_ms=value) for tool in "ab" for value in (1.0, 2.0, 3.0)]
    seen: list[int] = []
    first = load_records(client, [*records, records[0]], seen.append, batch_rows=2)
    assert (first.stored, first.duplicates, first.rejected) == (6, 1, 0)
    assert seen[-1] == 6
    assert seen == sorted(seen)
    again = load_records(client, records, batch_rows=2)
    assert (again.stored, again.duplicates, again.rejected) == (0, 6, 0)
    assert protocol.result_count() == 6


def test_a_refused_record_comes_back_with_what_could_not_be_found(client: Client) -> None:
    good, unknown = record(), record(hardware="unknown")
    summary = load_records(client, [good, unknown])
    assert (summary.stored, summary.rejected) == (1, 1)
    (rejected,) = summary.rejections
    assert rejected.record == unknown
    assert rejected.reason == "CONFIG_UNRESOLVED"
    assert rejected.detail == "No hardware is named unknown."


def test_what_was_refused_once_is_looked_at_again(client: Client) -> None:
    records = [record(), record(hardware="unknown")]
    load_records(client, records)
    again = load_records(client, records)
    assert (again.stored, again.duplicates, again.rejected) == (0, 1, 1)
