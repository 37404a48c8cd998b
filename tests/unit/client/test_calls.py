from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from servemark.catalog.v1.use_case_pb2 import (
    CreateUseCaseRequest,
    GetUseCaseRequest,
    GetUseCaseResponse,
    ListUseCasesRequest,
)
from servemark.client.channel import Client, connect
from servemark.client.errors import ServemarkCallError
from servemark.client.policy import Timeouts
from servemark.client.push import push
from servemark.client.retry import RetryPolicy
from servemark.client.spool import Spool
from servemark.client.stream import ResultStream
from servemark.ingest.v1.storage_pb2 import MaintainStorageRequest
from tests.unit.client.streams import header, rows

Answer = Callable[[grpc.ServicerContext], None]


@dataclass
class Server:
    """Answers every method with an empty message, unless the next answer says otherwise."""

    answers: list[Answer] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any], float]] = field(default_factory=list)
    port: int = 0

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        method = str(details.method).rsplit("/", 1)[-1]
        metadata = dict(details.invocation_metadata)

        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.calls.append((method, metadata, context.time_remaining() or 0.0))
            if self.answers:
                self.answers.pop(0)(context)
            return GetUseCaseResponse().SerializeToString()

        return grpc.unary_unary_rpc_method_handler(handle)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    handler = type("Handler", (grpc.GenericRpcHandler,), {"service": staticmethod(made.service)})()
    running = grpc.server(futures.ThreadPoolExecutor(4), handlers=[handler])
    made.port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    yield made
    running.stop(None).wait()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with connect(
        f"127.0.0.1:{server.port}",
        key="sm_1_secret",
        timeouts=Timeouts(unary=3.0, list=6.0),
        retry=RetryPolicy(max_attempts=3, first_delay=0.01, max_delay=0.02),
    ) as made:
        yield made


def failing(code: "code_pb2.Code.ValueType", message: str, *details: Message) -> Answer:
    def answer(context: grpc.ServicerContext) -> None:
        packed = []
        for detail in details:
            holder = AnyMessage()
            holder.Pack(detail)
            packed.append(holder)
        status = status_pb2.Status(code=code, message=message, details=packed)
        context.abort_with_status(rpc_status.to_status(status))

    return answer


def info(reason: str, **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain="servemark", metadata=metadata)


def retry_info(seconds: float) -> error_details_pb2.RetryInfo:
    delay = Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)


UNAVAILABLE = failing(code_pb2.UNAVAILABLE, "The catalog is away.", info("DEPENDENCY_UNAVAILABLE"))


def test_every_call_brings_the_key_and_a_deadline(server: Server, client: Client) -> None:
    client.catalog.GetUseCase(GetUseCaseRequest())
    client.catalog.ListUseCases(ListUseCasesRequest())
    client.catalog.GetUseCase(GetUseCaseRequest(), timeout=1.5)
    assert [call[0] for call in server.calls] == ["GetUseCase", "ListUseCases", "GetUseCase"]
    assert {call[1]["authorization"] for call in server.calls} == {"Bearer sm_1_secret"}
    for (_, _, remaining), limit in zip(server.calls, (3.0, 6.0, 1.5), strict=True):
        assert abs(remaining - limit) < 1.0


def test_an_unavailable_server_is_asked_again(server: Server, client: Client) -> None:
    server.answers = [UNAVAILABLE, UNAVAILABLE]
    client.catalog.GetUseCase(GetUseCaseRequest())
    assert len(server.calls) == 3


def test_it_is_not_asked_for_ever(server: Server, client: Client) -> None:
    server.answers = [UNAVAILABLE] * 9
    with pytest.raises(ServemarkCallError) as caught:
        client.catalog.GetUseCase(GetUseCaseRequest())
    assert len(server.calls) == 3
    assert caught.value.reason == "DEPENDENCY_UNAVAILABLE"


def test_a_retry_that_would_come_after_the_deadline_is_not_waited_for(
    server: Server, client: Client
) -> None:
    server.answers = [failing(code_pb2.UNAVAILABLE, "Later.", info("X"), retry_info(60.5))]
    with pytest.raises(ServemarkCallError) as caught:
        client.catalog.GetUseCase(GetUseCaseRequest())
    assert caught.value.retry_after == 60.5
    assert "Try again in 60.5 s" in str(caught.value)


def test_throttling_is_repeated_only_with_retry_info(server: Server, client: Client) -> None:
    server.answers = [failing(code_pb2.RESOURCE_EXHAUSTED, "Too large.")]
    with pytest.raises(ServemarkCallError):
        client.catalog.GetUseCase(GetUseCaseRequest())
    assert len(server.calls) == 1
    server.answers = [
        failing(code_pb2.RESOURCE_EXHAUSTED, "Busy.", info("OVERLOADED"), retry_info(0.01))
    ]
    client.catalog.GetUseCase(GetUseCaseRequest())
    assert len(server.calls) == 3


def test_a_create_that_may_have_been_carried_out_is_not_repeated(
    server: Server, client: Client
) -> None:
    server.answers = [failing(code_pb2.UNAVAILABLE, "Socket closed")]
    with pytest.raises(ServemarkCallError):
        client.catalog.CreateUseCase(CreateUseCaseRequest())
    assert len(server.calls) == 1
    server.answers = [UNAVAILABLE]
    client.catalog.CreateUseCase(CreateUseCaseRequest())
    assert len(server.calls) == 3


def test_an_error_says_its_reason_and_every_wrong_field(server: Server, client: Client) -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="use_case.category", description="Must not be empty.")
    bad.field_violations.add(field="use_case.pipeline_tag", description="Is not a tag.")
    server.answers = [
        failing(
            code_pb2.INVALID_ARGUMENT,
            "It is wrong.",
            info("INVALID_FIELD", count="2"),
            bad,
        )
    ]
    with pytest.raises(ServemarkCallError) as caught:
        client.catalog.CreateUseCase(CreateUseCaseRequest())
    error = caught.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "INVALID_FIELD"
    assert error.metadata == {"count": "2"}
    assert [item.field for item in error.violations] == [
        "use_case.category",
        "use_case.pipeline_tag",
    ]
    assert str(error) == (
        "It is wrong; use_case.category: Must not be empty;"
        " use_case.pipeline_tag: Is not a tag (INVALID_FIELD)."
    )


def test_a_streamed_answer_comes_with_the_key_and_ends_in_our_words(
    server: Server, client: Client
) -> None:
    # On the wire one answer of a stream is one answer.
    assert len(list(client.storage.MaintainStorage(MaintainStorageRequest()))) == 1
    assert server.calls[0][1]["authorization"] == "Bearer sm_1_secret"
    server.answers = [failing(code_pb2.FAILED_PRECONDITION, "No.", info("ARCHIVE_NOT_USABLE"))]
    answers = client.storage.MaintainStorage(MaintainStorageRequest())
    with pytest.raises(ServemarkCallError) as caught:
        next(answers)
    assert str(caught.value) == "No (ARCHIVE_NOT_USABLE)."
    assert answers.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_a_foreign_reason_is_not_taken_for_ours(server: Server, client: Client) -> None:
    foreign = error_details_pb2.ErrorInfo(reason="API_DISABLED", domain="googleapis.com")
    server.answers = [failing(code_pb2.PERMISSION_DENIED, "No.", foreign)]
    with pytest.raises(ServemarkCallError) as caught:
        client.catalog.GetUseCase(GetUseCaseRequest())
    assert caught.value.reason == ""
    assert str(caught.value) == "No (PERMISSION_DENIED)."


def test_nobody_there_is_said_in_words(client: Client, server: Server) -> None:
    with connect("127.0.0.1:1", retry=RetryPolicy(max_attempts=1)) as nobody:
        with pytest.raises(ServemarkCallError, match="No Servemark answers at 127") as caught:
            nobody.ping()
        assert "servemark up" in str(caught.value)


def test_target_and_key_come_from_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVEMARK_TARGET", f"127.0.0.1:{server.port}")
    monkeypatch.setenv("SERVEMARK_API_KEY", "sm_env")
    with connect() as made:
        made.ping()
    assert server.calls[0][1]["authorization"] == "Bearer sm_env"


def test_delays_grow_with_jitter_and_never_undercut_the_server() -> None:
    policy = RetryPolicy(first_delay=0.1, max_delay=1.0)
    for attempt, ceiling in ((1, 0.1), (2, 0.2), (3, 0.4), (9, 1.0), (5000, 1.0)):
        delays = {policy.delay(attempt) for _ in range(50)}
        assert ceiling / 2 <= min(delays) <= max(delays) <= ceiling
        assert len(delays) > 1
    assert policy.delay(1, retry_after=3.0) == 3.0


QUOTA = failing(
    code_pb2.RESOURCE_EXHAUSTED,
    "The key has at most 250 rows per day.",
    info("QUOTA_EXCEEDED", limit="rows_per_day", most="250"),
    retry_info(43_211),
)


def test_a_stream_ends_at_once_where_the_server_asks_to_stay_away_for_longer_than_it_waits(
    server: Server, client: Client
) -> None:
    server.answers = [QUOTA]
    stream = ResultStream(client, header(), idle_timeout=60)
    stream.add(rows(1)[0])
    # Waiting out the idle timeout would end in a StreamTimeoutError.
    with pytest.raises(ServemarkCallError) as caught:
        stream.close()
    assert str(caught.value) == (
        "The key has at most 250 rows per day. Try again in 12 h 1 min (QUOTA_EXCEEDED)."
    )
    assert caught.value.metadata["limit"] == "rows_per_day"
    assert len(server.calls) == 1


def test_what_is_pushed_after_a_refusal_for_long_is_not_tried(
    server: Server, client: Client, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    for _ in range(3):
        segment = spool.create(header(str(uuid4())), client.target)
        segment.add(rows(1)[0].SerializeToString())
        segment.end_batch()
        segment.seal()
        segment.close()
    server.answers = [QUOTA] * 3
    summary = push(client, spool.paths(), idle_timeout=60)
    assert len(server.calls) == 1
    first, *others = summary.failures.values()
    assert "12 h 1 min" in first
    assert [text.startswith("Not tried") and "12 h 1 min" in text for text in others] == [True] * 2
    assert len(spool.paths()) == 3
