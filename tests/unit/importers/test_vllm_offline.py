import pytest

from servemark.importers.vllm_offline import NOTE_ALL_TOKENS, NOTE_OFFLINE
from tests.support.importing import file_outcomes, record, rejection
from tests.support.result_documents import VLLM_LATENCY, VLLM_THROUGHPUT
from tests.support.shared_data import shared_data

FOLDER = "dstack-benchmarks/comparison/h100sxm5_vs_mi300x/raw_data/8xH100SXM5-throughput"


def test_a_misspelt_output_length_is_a_length() -> None:
    found = record(VLLM_THROUGHPUT)
    assert (found.input_tokens, found.output_tokens) == (32784, 2048)
    # 16 requests of 2048 tokens in 523.9 s; tokens_per_second is of input and output together.
    assert found.throughput_tokens_sec == pytest.approx(62.5463)
    assert found.rps_sustained == 0.03054020519536582
    assert found.request_count == 16
    assert found.percentile_source == "absent"
    assert found.detailed_metrics["notes"] == [NOTE_OFFLINE]
    assert found.detailed_metrics["reported"]["tokens_per_second"] == 1063.7764273649823


def test_the_context_may_state_the_lengths_and_is_held_to_the_tokens_of_the_file() -> None:
    plain = {key: value for key, value in VLLM_THROUGHPUT.items() if key not in ("input", "ouput")}
    stated = record(plain, input_tokens=32784, output_tokens=2048)
    assert stated.throughput_tokens_sec == record(VLLM_THROUGHPUT).throughput_tokens_sec
    for found in (record(plain), record(plain, input_tokens=32784, output_tokens=2047)):
        assert found.throughput_tokens_sec is None
        assert found.detailed_metrics["notes"] == [NOTE_OFFLINE, NOTE_ALL_TOKENS]


def test_the_latency_of_a_whole_batch_is_refused_with_the_reason() -> None:
    found = rejection(VLLM_LATENCY)
    assert found.reason == "NO_METRICS"
    assert "how long a whole batch took (median 2.5 s)" in found.detail
    assert "`vllm bench serve`" in found.detail


def test_every_real_file_gives_its_rates_or_the_reason() -> None:
    found = [
        outcome for path in sorted(shared_data(FOLDER).iterdir()) for outcome in file_outcomes(path)
    ]
    rates = [outcome.record.rps_sustained for outcome in found if hasattr(outcome, "record")]
    reasons = [outcome.reason for outcome in found if hasattr(outcome, "reason")]
    assert (len(rates), reasons) == (17, ["NO_METRICS"] * 7)
    assert all(rates)
    # nvidia-throughput_test_ip128_op2048_np128.json: "requests_per_second"
    assert rates[0] == 0.5962515331830618
