"""Simulated results are results: valid, plausible, repeatable, and marked as what they are."""

from dataclasses import astuple
from itertools import groupby

import numpy as np
import pytest

from servemark.ingest.v1.result_stream_pb2 import StreamHeader
from servemark.type.v1.provenance_pb2 import Provenance
from services.ingest.convert_columns import columns_from_proto
from services.ingest.convert_rows import columns_from_rows
from services.ingest.convert_stream import header_from_proto
from services.ingest.validation import TimeWindow, check
from tests.support.simulation.figures import FIGURES, Rows, Simulator, curves
from tests.support.simulation.fleet import configurations, models
from tests.support.simulation.messages import as_columns, as_messages, header

START_MS = 1_790_000_000_000
SPAN_MS = 4 * 86_400_000
FLEET = models()


def made(number: int = 5, *, seed: int = 1, sequence: int = 0, count: int = 10_000) -> Rows:
    model = FLEET[number]
    simulator = Simulator(model, configurations(model), seed)
    return simulator.rows(sequence, count, START_MS, START_MS + SPAN_MS)


def test_a_hundred_models_have_more_than_900_different_configurations_each() -> None:
    assert len({model.name for model in FLEET}) == 100
    for model in FLEET:
        found = configurations(model)
        assert len(set(found)) == len(found) == 960
        # They fit into the dictionary of one stream.
        assert len(header_from_proto(_header(model.number)).shapes) == 960


def _header(number: int) -> StreamHeader:
    model = FLEET[number]
    stream_id = "0198c1d2-7f00-7abc-8def-0123456789ab"
    return header(model, configurations(model), stream_id)


def test_everything_says_that_it_is_simulated() -> None:
    message = _header(3)
    assert message.provenance == Provenance.PROVENANCE_SIMULATED
    assert message.tool == "servemark-simulator"
    for spec in message.configs:
        reference = spec.reference
        for name in (
            reference.model_version.model,
            reference.hardware.name,
            reference.framework.name,
        ):
            assert name.startswith("simulated/")


@pytest.mark.parametrize("number", range(7))
def test_every_row_passes_the_checks_of_the_service(number: int) -> None:
    rows = made(number)
    checked = check(
        columns_from_proto(as_columns(rows)),
        np.ones(960, np.bool_),
        TimeWindow(START_MS, START_MS + SPAN_MS),
    )
    assert not checked.reasons.any()


def test_columns_and_single_rows_say_the_same() -> None:
    rows = made(count=500)
    columns, messages = columns_from_proto(as_columns(rows)), columns_from_rows(as_messages(rows))
    for left, right in zip(astuple(columns), astuple(messages), strict=True):
        np.testing.assert_array_equal(left, right)


def test_the_same_seed_makes_the_same_rows_and_another_makes_others() -> None:
    for left, right in zip(astuple(made()), astuple(made()), strict=True):
        np.testing.assert_array_equal(left, right)
    for other in (made(seed=2), made(sequence=1), made(12)):
        assert not {one.tobytes() for one in made().ids} & {one.tobytes() for one in other.ids}
        assert (made().figures[0] != other.figures[0]).all()


def test_percentiles_never_fall_and_some_figures_are_missing_but_never_all() -> None:
    figures = made().figures
    for first in (0, 4):
        percentiles = figures[first : first + 4]
        known = np.where(np.isnan(percentiles), -np.inf, percentiles)
        highest = np.maximum.accumulate(known, axis=0)
        assert (np.isnan(percentiles) | (percentiles >= highest)).all()
    missing = dict(zip(FIGURES, np.isnan(figures).mean(axis=1), strict=True))
    assert missing["ttft_p50_ms"] == missing["throughput_tokens_sec"] == 0
    assert 0.15 < missing["ttft_p95_ms"] < 0.25
    assert 0.85 < missing["accuracy_score"] < 0.95


def test_latency_grows_with_the_load_and_throughput_levels_off() -> None:
    for model in FLEET[:7]:
        found = configurations(model)
        means = curves(model, found)
        throughput = means.concurrency / (means.ttft + means.output_tokens * means.tpot)
        keys = [(one.quantization, one.hardware, one.framework, one.workload) for one in found]
        for _, group in groupby(range(len(found)), key=lambda index: keys[index]):
            line = list(group)
            assert len(line) == 8
            assert (np.diff(means.ttft[line]) > 0).all()
            assert (np.diff(means.tpot[line]) > 0).all()
            gains = throughput[line][1:] / throughput[line][:-1]
            assert (gains > 1).all()
            assert (np.diff(gains) < 0).all()


def test_figures_are_of_the_size_of_real_ones() -> None:
    """An 8B model in BF16 on one H100, 512 tokens in and 256 out."""
    model = next(model for model in FLEET if model.billions == 8)
    found = configurations(model)
    means = curves(model, found)
    line = [
        index
        for index, one in enumerate(found)
        if one.quantization == "bf16"
        and one.hardware.name == "simulated/h100-80gb-1"
        and one.framework.name == "simulated/vllm"
        and one.workload.name == "chatbot"
    ]
    assert 20 < means.ttft[line[0]] < 60
    assert 6 < means.tpot[line[0]] < 12
    busiest = line[-1]
    seconds = (means.ttft[busiest] + means.output_tokens[busiest] * means.tpot[busiest]) / 1e3
    throughput = means.concurrency[busiest] * means.output_tokens[busiest] / seconds
    assert 2000 < throughput < 8000


def test_runs_of_a_configuration_drift_over_weeks() -> None:
    model = FLEET[0]
    simulator = Simulator(model, configurations(model)[:1], seed=1)
    weekly = [
        simulator.rows(
            week, 500, START_MS + week * 7 * 86_400_000, START_MS + (week + 1) * 7 * 86_400_000
        )
        for week in range(8)
    ]
    medians = [float(np.median(rows.figures[0])) for rows in weekly]
    assert 1.05 < max(medians) / min(medians) < 1.5


def test_a_full_batch_fits_into_a_message() -> None:
    assert as_columns(made(count=10_000)).ByteSize() < 3 * 1024 * 1024
