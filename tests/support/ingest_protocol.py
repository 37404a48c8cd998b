"""IngestService's stream protocol in a process of its own, for tests of the client's side of it.

It keeps what the contract promises (a cursor per stream, one transaction a batch, the ack after the
commit, replays counted, changed headers refused) on SQLite, so that it can be killed at any moment.
Everything else about ingest is tested against the real service.
"""

import argparse
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from uuid import UUID

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from servemark.ingest.v1 import benchmark_result_pb2 as result_pb2
from servemark.ingest.v1 import result_stream_pb2 as stream_pb2
from servemark.type.v1.error_reason_pb2 import ErrorReason

# What happens to a batch: called with its sequence at the points `before_commit` and
# `after_commit`. It may raise ConnectionError to break the connection, or kill the process.
Fault = Callable[[str, int], None]


def no_fault(point: str, sequence: int) -> None:
    """Lets everything through."""


class IngestProtocol:
    """Rows with an accuracy above 1 are refused, and those whose id is no UUID; so is a stream of
    the tool `refused`. A hardware named `unknown` does not resolve unless it is among the `known`.
    """

    def __init__(self, state: Path, fault: Fault = no_fault) -> None:
        self._state = state
        self._fault = fault
        self._lock = threading.Lock()
        with self._database() as database:
            database.executescript(
                "CREATE TABLE IF NOT EXISTS streams"
                " (id TEXT PRIMARY KEY, header BLOB, cursor INT, stored INT, duplicate INT);"
                "CREATE TABLE IF NOT EXISTS results (id TEXT PRIMARY KEY);"
                "CREATE TABLE IF NOT EXISTS rejections"
                " (stream TEXT, sequence INT, row INT, rejection BLOB);"
            )
        self.known: set[str] = set()
        self.largest_batch = 0
        # Each batch that came: how many rows, and whether as columns.
        self.batches: list[tuple[int, bool]] = []

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(self._state, timeout=10)

    def result_count(self) -> int:
        """Rows stored."""
        return int(self._database().execute("SELECT count(*) FROM results").fetchone()[0])

    def AppendResults(
        self,
        request_iterator: Iterator[stream_pb2.AppendResultsRequest],
        context: grpc.ServicerContext,
    ) -> Iterator[stream_pb2.AppendResultsResponse]:
        header = next(request_iterator).header
        yield stream_pb2.AppendResultsResponse(opened=self._open(header, context))
        unresolved = {index for index, spec in enumerate(header.configs) if self._is_unknown(spec)}
        for request in request_iterator:
            try:
                ack = self._append(header.stream_id, request.batch, unresolved, context)
            except ConnectionError:
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            yield stream_pb2.AppendResultsResponse(ack=ack)

    def _open(
        self, header: stream_pb2.StreamHeader, context: grpc.ServicerContext
    ) -> stream_pb2.StreamOpened:
        content = header.SerializeToString(deterministic=True)
        with self._lock, self._database() as database:
            known = database.execute(
                "SELECT header, cursor FROM streams WHERE id = ?", (header.stream_id,)
            ).fetchone()
            if known is None:
                database.execute(
                    "INSERT INTO streams VALUES (?, ?, 0, 0, 0)", (header.stream_id, content)
                )
        if header.tool == "refused" or (known is not None and known[0] != content):
            refuse(context, code_pb2.FAILED_PRECONDITION, "HEADER_CHANGED", "Another header.")
        opened = stream_pb2.StreamOpened(next_sequence=known[1] if known else 0)
        for index, spec in enumerate(header.configs):
            outcome = opened.configs.add(config_index=index)
            if self._is_unknown(spec):
                outcome.failures.add(
                    field="hardware",
                    reason=ErrorReason.ERROR_REASON_REFERENCE_NOT_FOUND,
                    detail="No hardware is named unknown.",
                )
            else:
                outcome.config_id = f"config-{index}"
        return opened

    def _is_unknown(self, spec: stream_pb2.ConfigSpec) -> bool:
        name = spec.reference.hardware.name
        return name == "unknown" and name not in self.known

    def _append(
        self,
        stream: str,
        batch: stream_pb2.ResultBatch,
        unresolved: set[int],
        context: grpc.ServicerContext,
    ) -> stream_pb2.BatchAck:
        ack = stream_pb2.BatchAck(sequence=batch.sequence)
        self.largest_batch = max(self.largest_batch, batch.ByteSize())
        self.batches.append((len(list(rows_of(batch))), batch.HasField("columns")))
        with self._lock, self._database() as database:
            (cursor,) = database.execute(
                "SELECT cursor FROM streams WHERE id = ?", (stream,)
            ).fetchone()
            if batch.sequence > cursor:
                refuse(context, code_pb2.OUT_OF_RANGE, "SEQUENCE_GAP", "A gap.")
            if batch.sequence < cursor:
                ack.replayed, ack.duplicate_count = True, len(list(rows_of(batch)))
                return ack
            for index, row in enumerate(rows_of(batch)):
                reason = ErrorReason.ERROR_REASON_UNSPECIFIED
                if row.config_index in unresolved:
                    reason = ErrorReason.ERROR_REASON_CONFIG_UNRESOLVED
                elif not is_uuid(row.id):
                    reason = ErrorReason.ERROR_REASON_ID_TIME_MISMATCH
                elif row.metrics.accuracy_score > 1:
                    reason = ErrorReason.ERROR_REASON_METRIC_OUT_OF_RANGE
                if reason:
                    refused = ack.rejections.add(
                        sequence=batch.sequence, row=index, result_id=row.id, reason=reason
                    )
                    database.execute(
                        "INSERT INTO rejections VALUES (?, ?, ?, ?)",
                        (stream, batch.sequence, index, refused.SerializeToString()),
                    )
                    continue
                stored = database.execute(
                    "INSERT OR IGNORE INTO results VALUES (?)", (row.id,)
                ).rowcount
                ack.stored_count += stored
                ack.duplicate_count += 1 - stored
            database.execute(
                "UPDATE streams SET cursor = cursor + 1, stored = stored + ?,"
                " duplicate = duplicate + ? WHERE id = ?",
                (ack.stored_count, ack.duplicate_count, stream),
            )
            self._fault("before_commit", batch.sequence)
        self._fault("after_commit", batch.sequence)
        return ack

    def GetStreamCursor(
        self, request: stream_pb2.GetStreamCursorRequest, context: grpc.ServicerContext
    ) -> stream_pb2.GetStreamCursorResponse:
        database = self._database()
        known = database.execute(
            "SELECT cursor, stored, duplicate FROM streams WHERE id = ?", (request.stream_id,)
        ).fetchone()
        if known is None:
            refuse(context, code_pb2.NOT_FOUND, "RESOURCE_NOT_FOUND", "No such stream.")
        (rejected,) = database.execute(
            "SELECT count(*) FROM rejections WHERE stream = ?", (request.stream_id,)
        ).fetchone()
        return stream_pb2.GetStreamCursorResponse(
            next_sequence=known[0],
            stored_count=known[1],
            duplicate_count=known[2],
            rejected_count=rejected,
        )

    def ListRejections(
        self, request: stream_pb2.ListRejectionsRequest, context: grpc.ServicerContext
    ) -> stream_pb2.ListRejectionsResponse:
        response = stream_pb2.ListRejectionsResponse()
        for (content,) in self._database().execute(
            "SELECT rejection FROM rejections WHERE stream = ?", (request.stream_id,)
        ):
            kept = response.rejections.add(stream_id=request.stream_id)
            kept.rejection.ParseFromString(content)
        return response


def rows_of(batch: stream_pb2.ResultBatch) -> Iterator[result_pb2.ResultRow]:
    """The rows of a batch in either encoding; of columns what the protocol looks at."""
    yield from batch.rows
    columns = batch.columns
    accuracy = columns.metrics.accuracy_score.values
    for index, config_index in enumerate(columns.config_indexes):
        yield result_pb2.ResultRow(
            id=str(UUID(bytes=columns.ids[16 * index : 16 * index + 16])),
            config_index=config_index,
            metrics=result_pb2.ResultMetrics(accuracy_score=accuracy[index] if accuracy else None),
        )


def is_uuid(text: str) -> bool:
    """Whether the text is a UUID as it is usually written."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def refuse(
    context: grpc.ServicerContext, code: "code_pb2.Code.ValueType", reason: str, message: str
) -> None:
    """Ends the call with the details every Servemark error carries."""
    packed = AnyMessage()
    packed.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="servemark"))
    status = status_pb2.Status(code=code, message=message, details=[packed])
    context.abort_with_status(rpc_status.to_status(status))


def _handlers(protocol: IngestProtocol) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        "servemark.ingest.v1.IngestService",
        {
            "AppendResults": grpc.stream_stream_rpc_method_handler(
                protocol.AppendResults,
                stream_pb2.AppendResultsRequest.FromString,
                stream_pb2.AppendResultsResponse.SerializeToString,
            ),
            "GetStreamCursor": grpc.unary_unary_rpc_method_handler(
                protocol.GetStreamCursor,
                stream_pb2.GetStreamCursorRequest.FromString,
                stream_pb2.GetStreamCursorResponse.SerializeToString,
            ),
            "ListRejections": grpc.unary_unary_rpc_method_handler(
                protocol.ListRejections,
                stream_pb2.ListRejectionsRequest.FromString,
                stream_pb2.ListRejectionsResponse.SerializeToString,
            ),
        },
    )


def serve(
    protocol: IngestProtocol, port: int = 0, credentials: grpc.ServerCredentials | None = None
) -> tuple[grpc.Server, int]:
    """A started server of the protocol on loopback, and its port."""
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_handlers(protocol),))
    address = f"127.0.0.1:{port}"
    bound = (
        server.add_insecure_port(address)
        if credentials is None
        else server.add_secure_port(address, credentials)
    )
    server.start()
    return server, bound


def main() -> None:
    """Serves on a given port; kills itself with SIGKILL after committing `--kill-after` batches."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--kill-after", type=int, default=0)
    arguments = parser.parse_args()
    committed = 0

    def die(point: str, sequence: int) -> None:
        nonlocal committed
        committed += point == "after_commit"
        if committed == arguments.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    fault = die if arguments.kill_after else no_fault
    server, _ = serve(IngestProtocol(arguments.state, fault), arguments.port)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
