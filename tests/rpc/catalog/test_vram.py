"""VRAM is the database's figure: parameters x bits / 8 x 1.2, in units of 10^9 bytes."""

import asyncio
from typing import Any

import pytest

from tests.rpc.catalog.kinds import HARDWARE, MODEL, MODEL_VERSION, hardware, model, model_version
from tests.rpc.catalog.serving import Served, waits_for
from tests.support import servers


async def _model(catalog: Served, **fields: Any) -> Any:
    return (await MODEL.call(catalog.stub, "Create", model=model(**fields))).model


async def _version(catalog: Served, model_id: str, **fields: Any) -> Any:
    sent = model_version(model_id, **fields)
    return (await MODEL_VERSION.call(catalog.stub, "Create", model_version=sent)).model_version


@pytest.mark.parametrize(
    ("parameters", "bits", "gigabytes"),
    [
        (70_000_000_000, 16, 168.0),
        (70_000_000_000, 4, 42.0),
        (70_553_706_496, 16, 169.3288955904),
        (671_000_000_000, 8, 805.2),
        (8_030_261_248, 8, 9.6363134976),
        (1, 1, 1.5e-10),
        (10**14, 64, 960_000.0),
    ],
)
async def test_vram_is_exact(catalog: Served, parameters: int, bits: int, gigabytes: float) -> None:
    parent = await _model(catalog, parameters=parameters)
    created = await _version(catalog, parent.id, quantization_bits=bits)
    assert created.vram_requirement_gb == gigabytes


async def test_all_experts_count_and_not_only_the_active_ones(catalog: Served) -> None:
    parent = await _model(catalog, parameters=235_000_000_000, active_parameters=22_000_000_000)
    created = await _version(catalog, parent.id, quantization_bits=8)
    assert created.vram_requirement_gb == 282.0


async def test_versions_follow_when_the_parameter_count_changes(catalog: Served) -> None:
    parent, other = await _model(catalog, parameters=10**9), await _model(catalog, n=2)
    halves = await _version(catalog, parent.id, quantization_bits=16)
    gone = await _version(catalog, parent.id, quantization_bits=8, version="old")
    gone = await MODEL_VERSION.archive(catalog.stub, gone.id)
    foreign = await _version(catalog, other.id)
    await MODEL.update(catalog.stub, model(id=parent.id, parameters=2 * 10**9), "parameters")
    after = await MODEL_VERSION.get(catalog.stub, halves.id)
    assert after.vram_requirement_gb == 4.8
    # The change is one of the version, too: whoever holds its old etag must read it again.
    assert after.etag != halves.etag
    assert after.update_time.ToNanoseconds() > halves.update_time.ToNanoseconds()
    assert (await MODEL_VERSION.get(catalog.stub, gone.id)).vram_requirement_gb == 2.4
    assert await MODEL_VERSION.get(catalog.stub, foreign.id) == foreign


async def test_a_version_follows_its_own_bits(catalog: Served) -> None:
    parent = await _model(catalog, parameters=10**9)
    created = await _version(catalog, parent.id, quantization_bits=16)
    wanted = model_version(parent.id, id=created.id, quantization_bits=4, vram_requirement_gb=1)
    after = await MODEL_VERSION.update(catalog.stub, wanted, "quantization_bits")
    assert after.vram_requirement_gb == 0.6


async def test_nobody_can_set_the_figure(catalog: Served) -> None:
    parent = await _model(catalog, parameters=10**9)
    created = await _version(catalog, parent.id)
    servers.execute(catalog.dsn, "UPDATE catalog.model_versions SET vram_requirement_gb = 1")
    assert (await MODEL_VERSION.get(catalog.stub, created.id)).vram_requirement_gb == 2.4


async def test_a_version_created_while_the_parameter_count_changes_gets_the_new_figure(
    catalog: Served,
) -> None:
    parent = await _model(catalog, parameters=10**9)
    changing = "UPDATE catalog.models SET parameters = 2000000000"
    async with waits_for(catalog.dsn, changing, _version(catalog, parent.id)) as creation:
        assert (await creation).vram_requirement_gb == 4.8


async def test_changes_of_a_model_and_its_versions_at_once_do_not_deadlock(
    catalog: Served,
) -> None:
    parent = await _model(catalog, parameters=10**9)
    for n in range(2, 10):
        wanted = model(id=parent.id, parameters=n * 10**9)
        await asyncio.gather(
            MODEL.update(catalog.stub, wanted, "parameters"),
            _version(catalog, parent.id, n=n),
            *(
                MODEL_VERSION.update(
                    catalog.stub,
                    model_version(parent.id, id=known, artifact_uri=f"hf://org/{n}"),
                    "artifact_uri",
                )
                for known in await MODEL_VERSION.ids(catalog.stub)
            ),
        )
        wrong = catalog.value(
            "SELECT count(*) FROM catalog.model_versions WHERE vram_requirement_gb <> $1",
            round(2.4 * n, 1),
        )
        assert wrong == 0


async def test_a_renamed_model_shows_its_new_name_in_its_versions(catalog: Served) -> None:
    parent = await _model(catalog)
    created = await _version(catalog, parent.id)
    await MODEL.update(catalog.stub, model(id=parent.id, name="org/New"), "name")
    after = await MODEL_VERSION.get(catalog.stub, created.id)
    assert after.model_name == "org/New"
    assert after.etag != created.etag


async def test_total_vram_follows_gpus_and_their_memory(catalog: Served) -> None:
    created = await HARDWARE.create(catalog.stub)
    assert created.total_vram_gb == 640
    after = await HARDWARE.update(catalog.stub, hardware(id=created.id, gpu_count=2), "gpu_count")
    assert after.total_vram_gb == 160
