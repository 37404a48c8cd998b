"""A stream is opened by a header, and stays what its header said."""

import asyncio

import grpc
import pytest

from servemark.catalog.v1.hardware_config_pb2 import CreateHardwareConfigRequest, HardwareConfig
from servemark.ingest.v1.benchmark_config_pb2 import Parallelism
from servemark.ingest.v1.result_stream_pb2 import AppendResultsRequest, StreamHeader
from servemark.type.v1.error_reason_pb2 import ErrorReason
from servemark.type.v1.provenance_pb2 import Provenance
from tests.rpc.ingest.builders import OTHER_MODEL, batch, config, header, row, rows
from tests.rpc.ingest.holding import held_config, waiting_backends
from tests.rpc.ingest.serving import AppendCall, Served, append, serving_ingest, stream
from tests.support.failures import failure
from tests.support.stack import free_block

pytestmark = pytest.mark.every_profile


async def test_a_stream_without_a_header_is_refused(ingest: Served) -> None:
    call = ingest.stub.AppendResults(iter([AppendResultsRequest(batch=batch(0, rows(1)))]))
    refused = await failure(call.read())
    assert (refused.code.name, refused.reason) == ("INVALID_ARGUMENT", "HEADER_MISSING")
    nothing = await failure(ingest.stub.AppendResults(iter([])).read())
    assert nothing.reason == "HEADER_MISSING"


async def test_a_second_header_is_refused(ingest: Served) -> None:
    call = AppendCall(ingest.stub)
    message = header()
    await call.open(message)
    await call.call.write(AppendResultsRequest(header=message))
    assert (await failure(call.read())).reason == "HEADER_REPEATED"


async def test_a_message_that_carries_nothing_is_refused(ingest: Served) -> None:
    call = AppendCall(ingest.stub)
    await call.open(header())
    await call.call.write(AppendResultsRequest())
    refused = await failure(call.read())
    assert (refused.reason, set(refused.fields)) == ("INVALID_FIELD", {"batch"})


async def test_every_wrong_field_of_a_header_is_named_at_once(ingest: Served) -> None:
    message = StreamHeader(
        stream_id="seven",
        tool="",
        tool_version="v" * 65,
        configs=[
            config(workload_type="", input_tokens=-1),
            config(concurrency=0, request_rate=0, parallelism=Parallelism(expert=-1)),
            config(output_tokens=-5, request_rate=float("nan")),
        ],
    )
    refused = await failure(append(ingest.stub, message))
    assert (refused.code.name, refused.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert set(refused.fields) == {
        "header.stream_id",
        "header.tool",
        "header.tool_version",
        "header.provenance",
        "header.configs[0].workload.workload_type",
        "header.configs[0].workload.input_tokens",
        "header.configs[1].workload.concurrency",
        "header.configs[1].workload.request_rate",
        "header.configs[1].parallelism.expert",
        "header.configs[2].workload.output_tokens",
        "header.configs[2].workload.request_rate",
    }


async def test_a_header_has_from_one_to_a_thousand_configurations(ingest: Served) -> None:
    none = header()
    del none.configs[:]
    assert "header.configs" in (await failure(append(ingest.stub, none))).fields
    many = header(*(config(concurrency=index + 1) for index in range(1001)))
    assert "header.configs" in (await failure(append(ingest.stub, many))).fields
    del many.configs[1000:]
    opened, _ = await append(ingest.stub, many)
    assert len({outcome.config_id for outcome in opened.configs}) == 1000


async def test_another_header_under_the_same_stream_id_is_refused(ingest: Served) -> None:
    message = header()
    await append(ingest.stub, message, batch(0, rows(1)))
    for change in (
        {"tool": "guidellm"},
        {"tool_version": "2"},
        {"provenance": Provenance.PROVENANCE_SIMULATED},
        {"configs": [config(concurrency=17)]},
        {"configs": [*message.configs, config(concurrency=17)]},
    ):
        values = {field.name: value for field, value in message.ListFields()} | change
        refused = await failure(append(ingest.stub, StreamHeader(**values)))
        assert (refused.code.name, refused.reason) == ("FAILED_PRECONDITION", "HEADER_CHANGED")
    opened, _ = await append(ingest.stub, message)
    assert opened.next_sequence == 1


async def test_the_same_thing_measured_is_one_configuration(ingest: Served) -> None:
    spread = Parallelism(tensor=8)
    shapes = [
        config(input_tokens=1024, output_tokens=256, concurrency=4),
        config(input_tokens=1024, output_tokens=256),
        config(input_tokens=1024, output_tokens=256, request_rate=2.5),
        config(input_tokens=1024, output_tokens=256, request_rate=2.5, parallelism=spread),
        config(),
        config(model=OTHER_MODEL),
        config(input_tokens=0),
        config(workload_type="random"),
    ]
    first, _ = await append(ingest.stub, header(*shapes, *shapes))
    ids = [outcome.config_id for outcome in first.configs]
    assert len(set(ids)) == len(shapes)
    assert ids[: len(shapes)] == ids[len(shapes) :]
    other_tool, _ = await append(ingest.stub, header(*reversed(shapes), tool="guidellm"))
    assert [outcome.config_id for outcome in other_tool.configs] == list(reversed(ids[:8]))
    simulated, _ = await append(
        ingest.stub, header(*shapes, provenance=Provenance.PROVENANCE_SIMULATED)
    )
    assert not set(ids) & {outcome.config_id for outcome in simulated.configs}


async def test_racing_streams_agree_on_the_configurations(ingest: Served) -> None:
    shapes = [config(concurrency=index + 1) for index in range(40)]
    answers = await asyncio.gather(
        *(
            append(ingest.stub, header(*(shapes if index % 2 else reversed(shapes))))
            for index in range(8)
        )
    )
    found = {frozenset(outcome.config_id for outcome in opened.configs) for opened, _ in answers}
    assert len(found) == 1
    assert ingest.value("SELECT count(*) FROM ingest.benchmark_configs") == len(shapes)


async def test_streams_that_name_the_same_configurations_never_wait_in_a_circle(
    ingest: Served,
) -> None:
    await append(ingest.stub, header(config(concurrency=9)))
    shapes = [config(concurrency=index) for index in (1, 2, 3)]
    async with held_config(ingest.dsn, 2):
        calls = [
            asyncio.create_task(append(ingest.stub, header(*order)))
            for order in (shapes, shapes[::-1])
        ]
        await waiting_backends(ingest.dsn, 2)
    (first, _), (second, _) = await asyncio.gather(*calls)
    ids = [outcome.config_id for outcome in first.configs]
    assert ids == [outcome.config_id for outcome in reversed(second.configs)]


async def test_only_rows_of_an_unresolved_configuration_are_refused(ingest: Served) -> None:
    message = header(config(), config(hardware="nowhere/tpu"))
    opened, acks = await append(ingest.stub, message, batch(0, [row(), row(config_index=1), row()]))
    assert opened.configs[0].config_id
    assert not opened.configs[0].failures
    assert not opened.configs[1].config_id
    failures = [(f.field, ErrorReason.Name(f.reason)) for f in opened.configs[1].failures]
    assert failures == [("hardware", "ERROR_REASON_REFERENCE_NOT_FOUND")]
    assert "nowhere/tpu" in opened.configs[1].failures[0].detail
    assert acks[0].stored_count == 2
    rejected = [(r.row, ErrorReason.Name(r.reason)) for r in acks[0].rejections]
    assert rejected == [(1, "ERROR_REASON_CONFIG_UNRESOLVED")]


async def test_a_configuration_resolves_once_the_catalog_knows_it(ingest: Served) -> None:
    message = header(config(hardware="azure/nd-h100"))
    opened, _ = await append(ingest.stub, message, batch(0, rows(1)))
    assert not opened.configs[0].config_id
    hardware = HardwareConfig(
        name="azure/nd-h100",
        gpu_type="H100-80GB",
        gpu_count=8,
        vram_per_gpu_gb=80,
        cloud_provider="azure",
        instance_type="nd-h100",
    )
    await ingest.catalog.CreateHardwareConfig(CreateHardwareConfigRequest(hardware_config=hardware))
    again, acks = await append(ingest.stub, message, batch(1, rows(1)))
    assert again.configs[0].config_id
    assert not again.configs[0].failures
    assert acks[0].stored_count == 1


async def test_a_new_stream_needs_the_catalog_and_a_known_one_does_not(ingest: Served) -> None:
    message = header()
    await append(ingest.stub, message, batch(0, rows(1)))
    nobody = free_block()
    async with serving_ingest(ingest.dsn, nobody) as (stub, _):
        refused = await failure(append(stub, header()))
        assert refused.code is grpc.StatusCode.UNAVAILABLE
        assert refused.reason == "DEPENDENCY_UNAVAILABLE"
        summary = await stream(stub, message, batch(1, rows(2)))
        assert summary.stored_count == 2


async def test_names_are_kept_in_lower_case(ingest: Served) -> None:
    mixed = header(config(workload_type="ChatBot"), tool="vLLM")
    opened, _ = await append(ingest.stub, mixed, batch(0, rows(1)))
    plain, _ = await append(ingest.stub, header(config(workload_type="chatbot")))
    assert opened.configs == plain.configs
    assert ingest.value("SELECT tool FROM ingest.benchmark_results") == "vllm"
