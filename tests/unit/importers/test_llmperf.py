import json

import pytest

from servemark.importers.llmperf import NOTE_EMPTY, NOTE_NO_DURATION, NOTE_TPOT
from tests.support.importing import file_records, record, rejection
from tests.support.result_documents import LLMPERF_INDIVIDUAL
from tests.support.shared_data import shared_data


def test_responses_one_by_one_give_percentiles_over_those_that_answered() -> None:
    found = record(LLMPERF_INDIVIDUAL)
    # TTFT 125, 250 and 500 ms. Of five, one was refused and one came back without a token.
    assert (found.ttft_p50_ms, found.ttft_p90_ms) == (250.0, 450.0)
    # (0.75 - 0.25) / 4 and (1.5 - 0.5) / 4 s: the tool's inter_token_latency has the first in it.
    assert (found.tpot_p50_ms, found.tpot_p90_ms) == (187.5, 237.5)
    assert (found.request_count, found.failed_request_count) == (3, 2)
    assert found.percentile_source == "computed_from_samples"
    assert (found.throughput_tokens_sec, found.rps_sustained) == (None, None)
    assert found.detailed_metrics["computed"]["e2el_p50_ms"] == 750.0
    assert found.detailed_metrics["notes"] == [NOTE_NO_DURATION, NOTE_EMPTY]
    assert found.ttft_sketch is not None
    assert found.tpot_sketch is not None
    assert (sum(found.ttft_sketch.counts), sum(found.tpot_sketch.counts)) == (3, 2)


def test_responses_that_all_failed_are_rejected() -> None:
    assert rejection(LLMPERF_INDIVIDUAL[-1:] * 3).reason == "NO_METRICS"


@pytest.mark.parametrize("odd", [None, 3, {}, {**LLMPERF_INDIVIDUAL[0], "ttft_s": "soon"}])
def test_a_response_that_is_none_is_named(odd: object) -> None:
    found = rejection([LLMPERF_INDIVIDUAL[0], odd])
    assert found.reason == "FIELD_INVALID"
    assert "response 1" in found.detail


def test_every_real_summary_gives_ttft_in_milliseconds_and_no_tpot() -> None:
    files = sorted(shared_data("llmperf-leaderboard/raw_data/summary").glob("*.json"))
    assert len(files) == 19
    for path in files:
        data = json.loads(path.read_text())
        (found,) = file_records(path, model=None, framework=None, benchmarked_at=None)
        ours = found.to_json()
        for percent in (50, 90, 95, 99):
            theirs = data[f"results_ttft_s_quantiles_p{percent}"]
            assert ours[f"ttft_p{percent}_ms"] == theirs * 1000
        # A request's whole time over its tokens, within what a mean of quotients differs.
        whole = (
            data["results_end_to_end_latency_s_mean"] / data["results_number_output_tokens_mean"]
        )
        assert data["results_inter_token_latency_s_mean"] == pytest.approx(whole, rel=0.15)
        assert (found.tpot_p50_ms, found.tpot_p99_ms) == (None, None)
        assert NOTE_TPOT in found.detailed_metrics["notes"]
        assert found.model == data["model"]
        assert found.framework == data["framework"]
        assert found.failed_request_count == data["results_number_errors"]
        assert found.concurrency == 5
        assert (found.input_tokens, found.output_tokens) == (550, 150)
