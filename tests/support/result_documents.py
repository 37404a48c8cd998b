"""Small result documents of benchmark tools, written by the tools' own sources.

Each has few enough requests to work its figures out by hand. Where we have real files, tests read
those too; these are for what they do not show.
"""

import json
from collections.abc import Mapping
from typing import Any

# vllm/benchmarks/serve.py at 009e6d4: --save-result with --goodput, probes, speculative decoding
# and --percentile-metrics at 90, 95, 99 and 99.9.
VLLM_NEW: dict[str, Any] = {
    "date": "20260914-020903",
    "endpoint_type": "openai-chat",
    "backend": "openai-chat",
    "label": None,
    "model_id": "openai/gpt-oss-120b",
    "tokenizer_id": "openai/gpt-oss-120b",
    "num_prompts": 10,
    "request_rate": 4.0,
    "burstiness": 1.0,
    "max_concurrency": 8,
    "duration": 2.0,
    "completed": 8,
    "failed": 2,
    "total_input_tokens": 1000,
    "total_output_tokens": 180,
    "request_throughput": 4.0,
    "request_goodput": 3.5,
    "output_throughput": 90.0,
    "total_token_throughput": 590.0,
    "max_output_tokens_per_s": 120.0,
    "max_concurrent_requests": 9,
    "rtfx": 0.0,
    "probe_completed": 5,
    "probe_median_e2el_ms": 12.0,
    "spec_decode_acceptance_rate": 61.5,
    "spec_decode_per_position_acceptance_rates": [0.8, 0.6],
    "rps_change_events": [{"rps": 1, "timestamp": "2026-09-14T02:09:01"}],
    **{
        f"{statistic}_{metric}_ms": start + step
        for metric, start in (("ttft", 20.0), ("tpot", 5.0), ("itl", 6.0), ("e2el", 400.0))
        for step, statistic in enumerate(("median", "mean", "p90", "p95", "p99", "p99.9"))
    },
}

# vllm/benchmarks/throughput.py, with the lengths that dstack's files add, one of them misspelt
# (dstackai/benchmarks, …_throughput_req16_in32784_out2048_.json).
VLLM_THROUGHPUT: dict[str, Any] = {
    "input": 32784,
    "ouput": 2048,
    "elapsed_time": 523.8995578991016,
    "num_requests": 16,
    "total_num_tokens": 557312,
    "requests_per_second": 0.03054020519536582,
    "tokens_per_second": 1063.7764273649823,
}

# vllm/benchmarks/latency.py: whole batches, in seconds.
VLLM_LATENCY: dict[str, Any] = {
    "avg_latency": 2.5,
    "std_latency": 0.5,
    "latencies": [2.0, 3.0],
    "percentiles": {"10": 2.1, "25": 2.25, "50": 2.5, "75": 2.75, "90": 2.9, "99": 2.99},
}

# python/sglang/benchmark/serving.py of sgl-project/sglang: one line, without --output-details.
# Copies before 2026 have no p90 and p95.
SGLANG_PLAIN: dict[str, Any] = {
    "tag": None,
    "backend": "sglang",
    "dataset_name": "random",
    "request_rate": "trace",
    "max_concurrency": 16,
    "sharegpt_output_len": None,
    "random_input_len": 1024,
    "random_output_len": 128,
    "random_range_ratio": 1.0,
    "server_info": {
        "model_path": "Qwen/Qwen3-8B",
        "version": "0.5.3",
        "quantization": "fp8",
        "tp_size": 4,
        "pp_size": 1,
        "dp_size": 1,
        "ep_size": 1,
        "internal_states": [{"avg_spec_accept_length": 2.5}],
    },
    "duration": 4.0,
    "completed": 20,
    "total_input_tokens": 20480,
    "total_output_tokens": 2560,
    "total_output_tokens_retokenized": 2558,
    "request_throughput": 5.0,
    "input_throughput": 5120.0,
    "output_throughput": 640.0,
    "total_throughput": 5760.0,
    "mean_e2e_latency_ms": 900.0,
    "median_e2e_latency_ms": 880.0,
    "p99_e2e_latency_ms": 1300.0,
    "mean_ttft_ms": 80.0,
    "median_ttft_ms": 75.0,
    "std_ttft_ms": 9.0,
    "p99_ttft_ms": 140.0,
    "mean_tpot_ms": 6.5,
    "median_tpot_ms": 6.25,
    "p99_tpot_ms": 9.5,
    "mean_itl_ms": 6.4,
    "median_itl_ms": 6.2,
    "p95_itl_ms": 8.0,
    "p99_itl_ms": 12.0,
    "concurrency": 4.5,
    "accept_length": 2.5,
}

# The same with --output-details: seconds, failed requests with 0 tokens. Of five, three answered.
SGLANG_DETAILED: dict[str, Any] = {
    **SGLANG_PLAIN,
    "backend": "sglang-oai",
    "server_info": None,
    "duration": 2.0,
    "completed": 4,
    "median_ttft_ms": 150.0,
    "input_lens": [10, 10, 10, 10, 10],
    "output_lens": [3, 3, 0, 0, 1],
    "ttfts": [0.125, 0.25, 0.0, 0.0, 0.5],
    "itls": [[0.0625, 0.0625], [0.125, 0.125], [], [], []],
    "generated_texts": ["a", "b", "", "", "c"],
    "errors": ["", "", "", "refused", ""],
}


def _distribution(**changes: float) -> dict[str, Any]:
    """guidellm/schemas/statistics.py: one status of a metric."""
    keys = ("p001", "p01", "p05", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "p999")
    figures = {"mean": 10.0, "median": 9.0, "mode": 9.0, "variance": 4.0, "std_dev": 2.0}
    percentiles = {key: changes.get(key, float(index)) for index, key in enumerate(keys)}
    counts = {"min": 0.0, "max": 20.0, "count": 4, "total_sum": 40.0}
    return {**figures, **counts, **changes, "percentiles": percentiles}


def _statuses(**changes: float) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(_distribution(), 0.0) | {"percentiles": {}}
    return {
        "successful": _distribution(**changes),
        "errored": empty,
        "incomplete": empty,
        "total": _distribution(mean=999.0, p50=999.0, p90=999.0, p95=999.0, p99=999.0),
    }


def _guidellm_metrics() -> dict[str, Any]:
    return {
        "requests_per_second": _statuses(mean=2.0, median=1.0),
        "request_concurrency": _statuses(mean=3.5),
        "request_latency": _statuses(mean=1.5, p50=1.25),
        "prompt_token_count": _statuses(mean=512.0),
        "output_token_count": _statuses(mean=256.0),
        "time_to_first_token_ms": _statuses(p50=50.0, p90=90.0, p95=95.0, p99=99.0),
        # Includes the first token: must not become TPOT.
        "time_per_output_token_ms": _statuses(p50=777.0, p90=777.0, p95=777.0, p99=777.0),
        "inter_token_latency_ms": _statuses(p50=5.0, p90=9.0, p95=9.5, p99=9.9),
        # The median is over moments; only the mean is a throughput.
        "output_tokens_per_second": _statuses(mean=512.0, median=0.4, p50=0.4),
        "tokens_per_second": _statuses(mean=1536.0, median=0.8),
    }


# guidellm v0.5.0: benchmark/schemas/generative/report.py (metadata.version 1, args) and
# benchmark.py (config.strategy, scheduler_metrics, metrics.request_totals).
GUIDELLM_V1: dict[str, Any] = {
    "metadata": {
        "version": 1,
        "guidellm_version": "0.5.0",
        "python_version": "3.12.8",
        "platform": "Linux",
    },
    "args": {
        "target": "http://localhost:8000",
        "data": ["prompt_tokens=512,output_tokens=256"],
        "profile": "sweep",
        "model": "org/model",
    },
    "benchmarks": [
        {
            "type_": "generative_benchmark",
            "config": {
                "id_": "a",
                "run_id": "r",
                "run_index": index,
                "strategy": strategy,
                "profile": {"type_": "sweep", "max_concurrency": None},
                "backend": {"type_": "openai_http", "model": "org/model"},
            },
            "scheduler_metrics": {"requests_made": totals},
            "metrics": {**_guidellm_metrics(), "request_totals": totals},
            "requests": {"successful": [], "errored": [], "incomplete": [], "total": None},
            "start_time": 1_760_000_000.0 + 100 * index,
            "end_time": 1_760_000_060.5 + 100 * index,
            "duration": 60.5,
        }
        for totals in [{"successful": 4, "errored": 1, "incomplete": 2, "total": 7}]
        for index, strategy in enumerate(
            (
                {"type_": "synchronous", "worker_count": 1, "max_concurrency": None},
                {"type_": "concurrent", "streams": 32, "max_concurrency": 32},
                {"type_": "poisson", "rate": 2.5, "max_concurrency": 512, "random_seed": 42},
            )
        )
    ],
}

# guidellm v0.3.1: benchmark/output.py and benchmark/benchmark.py. The report is its benchmarks
# alone, and keeps every request. Of four that succeeded, one answered nothing.
GUIDELLM_V0: dict[str, Any] = {
    "benchmarks": [
        {
            "type_": "generative_benchmark",
            "id_": "a",
            "run_id": "r",
            "args": {
                "profile": {"type_": "async", "max_concurrency": None},
                "strategy_index": 0,
                "strategy": {"type_": "constant", "rate": 2.0, "max_concurrency": None},
            },
            "run_stats": {"start_time": 1_750_000_000.0, "end_time": 1_750_000_010.0},
            "start_time": 1_750_000_000.0,
            "end_time": 1_750_000_002.0,
            "duration": 2.0,
            "worker": {
                "type_": "generative_requests_worker",
                "backend_type": "openai_http",
                "backend_model": "org/model",
            },
            "request_loader": {"data": '{"prompt_tokens": 128, "output_tokens": 3}'},
            "metrics": _guidellm_metrics(),
            "request_totals": {"successful": 4, "errored": 1, "incomplete": 0, "total": 5},
            "request_samples": None,
            "requests": {
                "successful": [
                    {
                        "type_": "generative_text_response",
                        "prompt_tokens": 128,
                        "output_tokens": tokens,
                        "request_latency": latency,
                        "time_to_first_token_ms": ttft,
                        "time_per_output_token_ms": 777.0,
                        "inter_token_latency_ms": gap,
                    }
                    for tokens, ttft, gap, latency in (
                        (3, 100.0, 10.0, 0.12),
                        (3, 200.0, 20.0, 0.24),
                        (0, 0.0, 0.0, 0.5),
                        (1, 300.0, 0.0, 0.3),
                    )
                ],
                "errored": [{"error": "refused"}],
                "incomplete": [],
                "total": None,
            },
        }
    ]
}

# genai-perf/genai_perf/export_data/json_exporter.py and metrics/statistics.py of
# triton-inference-server/perf_analyzer: units as `_add_units` gives them; no time at all.
GENAI_PERF: dict[str, Any] = {
    "request_throughput": {"unit": "requests/sec", "avg": 5.0},
    "request_latency": {"unit": "ms", "avg": 400.0, "p50": 390.0, "p90": 480.0, "p99": 500.0},
    "request_count": {"unit": "count", "avg": 50.0},
    "time_to_first_token": {
        "unit": "ms",
        "avg": 41.0,
        "p25": 30.0,
        "p50": 40.0,
        "p75": 45.0,
        "p90": 50.0,
        "p95": 55.0,
        "p99": 60.0,
    },
    "inter_token_latency": {
        "unit": "ms",
        "avg": 7.5,
        "p50": 7.0,
        "p90": 8.0,
        "p95": 8.5,
        "p99": 9.0,
    },
    "output_token_throughput": {"unit": "tokens/sec", "avg": 640.0},
    "output_token_throughput_per_user": {"unit": "tokens/sec/user", "avg": 80.0},
    "output_sequence_length": {"unit": "tokens", "avg": 128.0},
    "input_sequence_length": {"unit": "tokens", "avg": 550.0},
    "telemetry_stats": {
        "gpu_power_usage": {"unit": "W", "gpu0": {"avg": 200.0}},
        "gpu_memory_used": {"unit": "GB", "gpu0": {"avg": 30.0}, "gpu1": {"avg": 34.0}},
        "gpu_utilization": {"unit": "%", "gpu0": {"avg": 80.0}, "gpu1": {"avg": 90.0}},
    },
    "input_config": {
        "model_names": ["org/model"],
        "endpoint": {"type": "chat", "streaming": True},
        "perf_analyzer": {"stimulus": {"concurrency": 8}},
        "input": {
            "synthetic_tokens": {"mean": 550, "stddev": 0},
            "output_tokens": {"mean": 128, "deterministic": False, "stddev": 0},
        },
    },
}

# inference_perf/reportgen/base.py of kubernetes-sigs/inference-perf at 7de5ef2 (`summarize_
# requests`): a stage of fixed concurrency, of which nothing streamed.
INFERENCE_PERF_UNSTREAMED: dict[str, Any] = {
    "benchmark_time_seconds": 10.0,
    "load_summary": {
        "count": 12,
        "schedule_delay": {"mean": 0.1, "median": 0.1},
        "send_duration": 9.0,
        # load_generator.py: `rate = getattr(stage, "rate", stage.num_requests)`
        "requested_rate": 12.0,
        "achieved_rate": 1.33,
        "concurrency": 4,
    },
    "successes": {
        "count": 10,
        "latency": {
            "request_latency": {"mean": 1.5, "median": 1.25, "p90": 2.0, "p99": 3.0},
            "normalized_time_per_output_token": {"mean": 0.05, "median": 0.04},
            "time_per_output_token": None,
            "time_to_first_token": None,
            "inter_token_latency": None,
        },
        "throughput": {
            "input_tokens_per_sec": 200.0,
            "output_tokens_per_sec": 64.0,
            "total_tokens_per_sec": 264.0,
            "requests_per_sec": 1.0,
        },
        "output_len": {"mean": 64.0, "median": 64.0},
        "token_count_mismatches": 0,
    },
    "failures": {"count": 2, "request_latency": {"mean": 5.0}, "by_label": {}},
}

# token_benchmark_ray.py of ray-project/llmperf: one object a request, seconds. Of five, one failed
# after two tokens and one came back empty.
LLMPERF_INDIVIDUAL: list[dict[str, Any]] = [
    {
        "error_code": code,
        "error_msg": "" if code is None else "Too Many Requests",
        # The whole time over all tokens: the first one is in it.
        "inter_token_latency_s": latency / tokens if tokens else 0,
        "ttft_s": ttft,
        "end_to_end_latency_s": latency,
        "request_output_throughput_token_per_s": tokens / latency if latency else 0,
        "number_total_tokens": 550 + tokens,
        "number_output_tokens": tokens,
        "number_input_tokens": 550,
    }
    for code, ttft, latency, tokens in (
        (None, 0.25, 0.75, 5),
        (None, 0.5, 1.5, 5),
        (None, 0.125, 0.125, 1),
        (None, 0.0, 0.5, 0),
        (429, 0.375, 0.0, 2),
    )
]

DOCUMENTS: Mapping[str, Any] = {
    "vllm_new": VLLM_NEW,
    "vllm_throughput": VLLM_THROUGHPUT,
    "vllm_latency": VLLM_LATENCY,
    "sglang_plain": SGLANG_PLAIN,
    "sglang_detailed": SGLANG_DETAILED,
    "guidellm_v0": GUIDELLM_V0,
    "guidellm_v1": GUIDELLM_V1,
    "genai_perf": GENAI_PERF,
    "inference_perf_unstreamed": INFERENCE_PERF_UNSTREAMED,
    "llmperf_individual": LLMPERF_INDIVIDUAL,
}
"""All of them by name."""


def copy_of(document: Any) -> Any:
    """A document that may be changed."""
    return json.loads(json.dumps(document))
