"""How fast a folder of small files is imported, next to reading the same files one after another.

`import.folder_rows_per_s`: results a second of `servemark import FOLDER`, from the start of the
command's work to the last acknowledgement of a server that only keeps ids; baseline: one process
that makes the same records of the same files and sends nothing. A ratio of 1 means that finding,
resolving, sending and acknowledging cost no time of their own.
"""

import contextlib
import io
import json
import tempfile
from pathlib import Path

from servemark.cli.__main__ import main
from servemark.importers.base import Imported
from servemark.importers.documents import find_files
from servemark.importers.reading import Reader
from tests.bench.bench_import_files import RECORD
from tests.bench.harness import Bench, Figure, alternate, measure
from tests.support.ingest_protocol import IngestProtocol, serve

FILES = 2_000


@measure("import.folder_rows_per_s", unit="1/s")
def folder_rows_per_s(bench: Bench) -> Figure:
    """Results a second of so many files of one result each."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "runs"
        folder.mkdir()
        for number in range(FILES):
            record = {**RECORD, "ttft_p90_ms": 1 + number}
            (folder / f"{number:05}.jsonl").write_text(json.dumps(record))
        server, port = serve(IngestProtocol(Path(place) / "state"))

        def load() -> None:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
                main(["import", str(folder), "--target", f"127.0.0.1:{port}", "--json"])

        def parse() -> int:
            reader = Reader()
            return sum(
                isinstance(outcome, Imported) and bool(outcome.record.id())
                for found in find_files([folder])
                for outcome in reader.read(found)
            )

        rows = parse()
        subject, baseline = alternate(load, parse, bench.rounds)
        server.stop(None).wait()
    return Figure(rows / subject, rows / baseline, larger_is_better=True, note=f"{rows} files")
