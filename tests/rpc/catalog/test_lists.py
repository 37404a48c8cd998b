"""Lists: filters, orders, and pages that neither lose nor repeat an entry."""

import base64
import json
from typing import Any

import grpc
import pytest

from servemark.catalog.v1 import (
    hardware_config_pb2,
    inference_framework_pb2,
    model_pb2,
    model_use_case_pb2,
    model_version_pb2,
    use_case_pb2,
)
from servemark.catalog.v1.model_use_case_pb2 import ModelUseCase
from tests.rpc.catalog.kinds import (
    FRAMEWORK,
    HARDWARE,
    KINDS,
    MODEL,
    MODEL_USE_CASE,
    MODEL_VERSION,
    USE_CASE,
    Kind,
    framework,
    hardware,
    model,
    model_version,
    use_case,
)
from tests.rpc.catalog.serving import Served
from tests.support import servers
from tests.support.failures import failure

ORDERS = [
    (kind, order)
    for kind, enum in (
        (MODEL, model_pb2.ModelOrder),
        (MODEL_VERSION, model_version_pb2.ModelVersionOrder),
        (HARDWARE, hardware_config_pb2.HardwareConfigOrder),
        (FRAMEWORK, inference_framework_pb2.InferenceFrameworkOrder),
        (USE_CASE, use_case_pb2.UseCaseOrder),
        (MODEL_USE_CASE, model_use_case_pb2.ModelUseCaseOrder),
    )
    for order in enum.values()
]


async def _pages(catalog: Served, kind: Kind, size: int, **fields: Any) -> list[list[Any]]:
    pages: list[list[Any]] = []
    token = ""
    while True:
        answer = await kind.call(catalog.stub, "List", page_size=size, page_token=token, **fields)
        pages.append(list(getattr(answer, kind.plural_field)))
        token = answer.next_page_token
        if not token:
            return pages
        assert len(pages) < 100, "the pages do not come to an end"


async def _fill(catalog: Served, kind: Kind) -> None:
    """Seven entries of which some tie, and some lack what is optional."""
    for n in range(7):
        await kind.create(catalog.stub, n)
    if kind is HARDWARE:
        servers.execute(
            catalog.dsn,
            "UPDATE catalog.hardware_configs SET cost_per_hour_usd = 10 WHERE name < 'aws/p5.003'",
            "UPDATE catalog.hardware_configs SET cost_per_hour_usd = 5 WHERE name > 'aws/p5.005'",
        )
    if kind is MODEL_USE_CASE:
        servers.execute(
            catalog.dsn,
            "UPDATE catalog.model_use_cases SET suitability_score = NULL WHERE priority > 4",
            "UPDATE catalog.model_use_cases SET priority = 0 WHERE priority > 5",
            "UPDATE catalog.model_use_cases SET priority = 1 WHERE priority > 4",
        )


@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
@pytest.mark.parametrize(("kind", "order"), ORDERS, ids=lambda v: getattr(v, "field", str(v)))
async def test_pages_of_any_size_are_complete_and_in_one_order(
    catalog: Served, kind: Kind, order: int, descending: bool
) -> None:
    await _fill(catalog, kind)
    fields = {"order_by": order, "descending": descending}
    [whole] = await _pages(catalog, kind, 1000, **fields)
    assert len(whole) == 7
    for size in (1, 2, 3, 7):
        pages = await _pages(catalog, kind, size, **fields)
        assert [entry for page in pages for entry in page] == whole
        assert [len(page) for page in pages[:-1]] == [size] * (len(pages) - 1)
        assert pages[-1]


@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
async def test_entries_without_a_value_come_last_in_either_direction(
    catalog: Served, descending: bool
) -> None:
    await _fill(catalog, HARDWARE)
    order = hardware_config_pb2.HARDWARE_CONFIG_ORDER_COST
    [listed] = await _pages(catalog, HARDWARE, 50, order_by=order, descending=descending)
    costs = [x.cost_per_hour_usd if x.HasField("cost_per_hour_usd") else None for x in listed]
    known = [5.0, 10.0, 10.0, 10.0]
    assert costs == (known[::-1] if descending else known) + [None] * 3

    await _fill(catalog, MODEL_USE_CASE)
    by_fit = model_use_case_pb2.MODEL_USE_CASE_ORDER_SUITABILITY
    [entries] = await _pages(catalog, MODEL_USE_CASE, 50, order_by=by_fit, descending=descending)
    assert [entry.HasField("suitability_score") for entry in entries] == [True] * 5 + [False] * 2
    [entries] = await _pages(catalog, MODEL_USE_CASE, 50, descending=descending)
    ranked = [1, 1, 2, 3, 4]
    assert [x.priority for x in entries] == (ranked[::-1] if descending else ranked) + [0, 0]


async def test_orders_sort_by_what_they_say(catalog: Served) -> None:
    sizes = {"org/b": 3, "Org/A": 2, "org/C": 9}
    for name, size in sizes.items():
        await MODEL.call(catalog.stub, "Create", model=model(name=name, parameters=size))

    async def names(**fields: Any) -> list[str]:
        [listed] = await _pages(catalog, MODEL, 50, **fields)
        return [entry.name for entry in listed]

    assert await names() == ["Org/A", "org/b", "org/C"]
    assert await names(descending=True) == ["org/C", "org/b", "Org/A"]
    assert await names(order_by=model_pb2.MODEL_ORDER_PARAMETERS) == ["Org/A", "org/b", "org/C"]
    by_time = model_pb2.MODEL_ORDER_CREATE_TIME
    assert await names(order_by=by_time) == ["org/b", "Org/A", "org/C"]


@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
async def test_pages_stay_stable_while_entries_are_added_and_archived(
    catalog: Served, descending: bool
) -> None:
    for n in range(10, 20):
        await MODEL.create(catalog.stub, n)
    [before] = await _pages(catalog, MODEL, 50, descending=descending)
    seen: list[str] = []
    token, added = "", 0
    while True:
        answer = await MODEL.call(
            catalog.stub, "List", page_size=3, page_token=token, descending=descending
        )
        seen += [entry.name for entry in answer.models]
        token = answer.next_page_token
        if not token:
            break
        # One before, one after every existing name, and the last one seen disappears.
        await MODEL.create(catalog.stub, added)
        await MODEL.create(catalog.stub, 100 + added)
        await MODEL.archive(catalog.stub, answer.models[-1].id)
        added += 1
    assert len(seen) == len(set(seen))
    assert [name for name in seen if name in {entry.name for entry in before}] == [
        entry.name for entry in before
    ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.field)
async def test_a_page_token_works_only_with_the_filters_and_order_it_was_made_for(
    catalog: Served, kind: Kind
) -> None:
    for n in range(3):
        await kind.create(catalog.stub, n)
    answer = await kind.call(catalog.stub, "List", page_size=1)
    token = answer.next_page_token
    assert await kind.ids(catalog.stub, page_size=2, page_token=token)
    for other in (
        {"descending": True},
        {"include_archived": True},
        {"order_by": 2},
        {"page_token": token[:-2]},
        {"page_token": "nonsense"},
        {"page_token": "é"},
    ):
        refused = await failure(kind.call(catalog.stub, "List", **({"page_token": token} | other)))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refused.reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize(
    ("kind", "order", "forged"),
    [
        (MODEL, model_pb2.MODEL_ORDER_NAME, ["a\x00", "0"]),
        (MODEL, model_pb2.MODEL_ORDER_NAME, [1, 2]),
        (MODEL, model_pb2.MODEL_ORDER_NAME, ["a", "not-an-id"]),
        (MODEL, model_pb2.MODEL_ORDER_PARAMETERS, [str(2**63), "0" * 32]),
        (MODEL, model_pb2.MODEL_ORDER_PARAMETERS, ["9" * 5000, "0" * 32]),
        (MODEL, model_pb2.MODEL_ORDER_CREATE_TIME, ["yesterday", "0" * 32]),
        (HARDWARE, hardware_config_pb2.HARDWARE_CONFIG_ORDER_COST, ["cheap", "0" * 32]),
        (HARDWARE, hardware_config_pb2.HARDWARE_CONFIG_ORDER_TOTAL_VRAM, [str(2**31), "0" * 32]),
    ],
)
async def test_a_forged_page_token_is_refused_as_one(
    catalog: Served, kind: Kind, order: int, forged: list[Any]
) -> None:
    for n in range(2):
        await kind.create(catalog.stub, n)
    answer = await kind.call(catalog.stub, "List", page_size=1, order_by=order)
    made = answer.next_page_token
    digest, _ = json.loads(base64.urlsafe_b64decode(made + "=" * (-len(made) % 4)))
    token = base64.urlsafe_b64encode(json.dumps([digest, forged]).encode()).decode().rstrip("=")
    refused = await failure(kind.call(catalog.stub, "List", order_by=order, page_token=token))
    assert refused.reason == "PAGE_TOKEN_INVALID"


async def test_a_page_holds_fifty_unless_told(catalog: Served) -> None:
    for n in range(51):
        await FRAMEWORK.create(catalog.stub, n)
    answer = await FRAMEWORK.call(catalog.stub, "List")
    assert len(answer.inference_frameworks) == 50
    assert answer.next_page_token


async def test_a_page_of_large_entries_is_cut_to_what_a_client_takes(catalog: Served) -> None:
    servers.execute(
        catalog.dsn,
        "INSERT INTO catalog.inference_frameworks (id, name, version, capabilities, "
        "config_template) SELECT uuidv7(), 'vllm', n, jsonb_build_object('text', "
        "repeat('x', 16000)), jsonb_build_object('text', repeat('y', 16000)) "
        "FROM generate_series(1, 300) AS n",
    )
    pages = await _pages(catalog, FRAMEWORK, 1000)
    assert len({entry.id for page in pages for entry in page}) == 300
    assert [len(page) for page in pages[:-1]] == [97, 97, 97]
    assert sum(entry.ByteSize() for entry in pages[0]) <= 3 * 1024 * 1024


async def test_models_are_filtered_by_tags_architecture_and_part_of_the_name(
    catalog: Served,
) -> None:
    for n, (architecture, tags) in enumerate(
        [("llama", ["chat", "code"]), ("qwen3", ["chat"]), ("mistral", [])]
    ):
        sent = model(n, architecture=architecture, tags=tags)
        await MODEL.call(catalog.stub, "Create", model=sent)

    async def found(**filters: Any) -> list[str]:
        answer = await MODEL.call(catalog.stub, "List", **filters)
        return [entry.architecture for entry in answer.models]

    assert await found(tags=["CHAT"]) == ["llama", "qwen3"]
    assert await found(tags=["chat", "code"]) == ["llama"]
    assert await found(architectures=["Qwen3", "mistral"]) == ["qwen3", "mistral"]
    assert await found(name_contains="mODEL-002") == ["mistral"]
    assert await found(name_contains="%") == []
    assert await found(name_contains="_") == []
    assert await found(tags=["chat"], architectures=["mistral"]) == []


async def test_versions_are_filtered_by_model_quantization_format_and_vram(
    catalog: Served,
) -> None:
    parent = await MODEL.create(catalog.stub, 1)
    other = await MODEL_VERSION.create(catalog.stub, 2)
    made = {}
    for name, bits in (("bf16", 16), ("fp8", 8), ("int4", 4)):
        sent = model_version(parent.id, quantization=name, quantization_bits=bits, format="gguf")
        answer = await MODEL_VERSION.call(catalog.stub, "Create", model_version=sent)
        made[name] = answer.model_version.id

    async def found(**filters: Any) -> set[str]:
        return set(await MODEL_VERSION.ids(catalog.stub, **filters))

    assert await found(model_ids=[parent.id]) == set(made.values())
    assert await found(quantizations=["FP8", "int4"]) == {made["fp8"], made["int4"]}
    assert await found(formats=["safetensors"]) == {other.id}
    # 7e9 parameters: 16.8, 8.4 and 4.2 GB, both ends included.
    assert await found(min_vram_gb=8.4, max_vram_gb=8.4) == {made["fp8"]}
    assert await found(max_vram_gb=8.4) == {made["fp8"], made["int4"]}
    assert await found(min_vram_gb=8.5) == {made["bf16"], other.id}


async def test_hardware_is_filtered_by_gpu_provider_vram_cost_and_spot(catalog: Served) -> None:
    small = hardware(1, gpu_type="L4", gpu_count=1, vram_per_gpu_gb=24, cloud_provider="gcp")
    for sent in (small, hardware(2), hardware(3)):
        await HARDWARE.call(catalog.stub, "Create", hardware_config=sent)
    servers.execute(
        catalog.dsn,
        "UPDATE catalog.hardware_configs SET cost_per_hour_usd = 0.8 WHERE gpu_type = 'L4'",
        "UPDATE catalog.hardware_configs SET cost_per_hour_usd = 55, spot_available = true "
        "WHERE name = 'aws/p5.002'",
    )

    async def found(**filters: Any) -> list[str]:
        answer = await HARDWARE.call(catalog.stub, "List", **filters)
        return [entry.name[-3:] for entry in answer.hardware_configs]

    assert await found(gpu_types=["l4", "h200"]) == ["001"]
    assert await found(cloud_providers=["AWS"]) == ["002", "003"]
    assert await found(min_total_vram_gb=25) == ["002", "003"]
    assert await found(min_total_vram_gb=24, max_total_vram_gb=24) == ["001"]
    assert await found(max_cost_per_hour_usd=55) == ["001", "002"]
    assert await found(max_cost_per_hour_usd=54.9) == ["001"]
    assert await found(spot_available=True) == ["002"]


async def test_the_other_kinds_are_filtered_by_their_fields(catalog: Served) -> None:
    sglang = framework(1, name="sglang")
    await FRAMEWORK.call(catalog.stub, "Create", inference_framework=sglang)
    await FRAMEWORK.create(catalog.stub, 2)
    assert len(await FRAMEWORK.ids(catalog.stub, names=["SGLang"])) == 1

    summary = use_case(1, category="summarization", pipeline_tag="summarization")
    await USE_CASE.call(catalog.stub, "Create", use_case=summary)
    first = await USE_CASE.create(catalog.stub, 2)
    assert await USE_CASE.ids(catalog.stub, categories=["Text-Generation"]) == [first.id]
    assert await USE_CASE.ids(catalog.stub, pipeline_tags=["text-generation"]) == [first.id]

    fit = await MODEL_USE_CASE.create(catalog.stub, 3)
    liked = await MODEL_USE_CASE.create(catalog.stub, 4)
    wanted = ModelUseCase(id=liked.id, recommended=True)
    await MODEL_USE_CASE.update(catalog.stub, wanted, "recommended")
    assert await MODEL_USE_CASE.ids(catalog.stub, model_ids=[fit.model_id]) == [fit.id]
    assert await MODEL_USE_CASE.ids(catalog.stub, use_case_ids=[liked.use_case_id]) == [liked.id]
    assert await MODEL_USE_CASE.ids(catalog.stub, recommended=True) == [liked.id]
