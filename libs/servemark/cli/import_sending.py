"""Records on their way to the server while the next ones are still being read."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from servemark.cli.import_summary import ImportSummary
from servemark.client.channel import Client
from servemark.client.load import LoadSummary, load_records
from servemark.importers.base import Imported, Rejection

WINDOW = 2_000
"""Records that are sent together: two of these are in memory, one sent and one gathered."""
_STOP_SECONDS = 15.0


class Sending:
    """Streams records window by window, in one thread, in the order they came.

    What it raises, it raises from `add` or `close` of the thread that reads.
    """

    def __init__(
        self, client: Client, summary: ImportSummary, on_rejection: Callable[[Rejection], None]
    ) -> None:
        self._client = client
        self._summary = summary
        self._on_rejection = on_rejection
        self._gathered: list[Imported] = []
        self._sent: list[Imported] = []
        self._thread = ThreadPoolExecutor(1, "servemark-import")
        # It is there from now on, so that handing it a window is never waiting.
        self._thread.submit(int).result()
        self._going: Future[list[tuple[str, LoadSummary]]] | None = None

    def add(self, imported: Imported) -> None:
        """Adds a record; waits while a window before it is being sent."""
        self._gathered.append(imported)
        if len(self._gathered) == WINDOW:
            self._send()

    def close(self) -> None:
        """Sends what is left, and returns when all of it is durable or refused."""
        self._send()
        self._settle()
        self._thread.shutdown()

    def stop(self) -> None:
        """Sends no more; waits a moment for what is on its way, so that it can be counted."""
        self._gathered = []
        # Where it fails, an import of the same files finds out what is stored.
        with suppress(Exception):
            self._settle(_STOP_SECONDS)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _send(self) -> None:
        self._settle()
        if self._gathered:
            self._sent, self._gathered = self._gathered, []
            self._going = self._thread.submit(self._load, self._sent)

    def _load(self, window: list[Imported]) -> list[tuple[str, LoadSummary]]:
        """What became of each format's records."""
        by_format: dict[str, list[Imported]] = {}
        for imported in window:
            by_format.setdefault(imported.file_format, []).append(imported)
        return [
            (name, load_records(self._client, [imported.record for imported in members]))
            for name, members in by_format.items()
        ]

    def _settle(self, timeout: float | None = None) -> None:
        if self._going is None:
            return
        # Only then forgotten: who interrupts the waiting still wants to know.
        answers = self._going.result(timeout)
        self._going = None
        places = {id(imported.record): imported.place for imported in self._sent}
        for name, answer in answers:
            self._summary.add_sent(name, answer)
            for refused in answer.rejections:
                self._on_rejection(
                    Rejection(refused.reason, refused.detail, places[id(refused.record)], name)
                )
        self._sent = []
