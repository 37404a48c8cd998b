"""Small documents of published and aggregated results, written by the tools' own sources.

Each is what we have no real file of, or shows what the real ones do not.
"""

from collections.abc import Mapping
from typing import Any

# utils/process_result.py of SemiAnalysisAI/InferenceX: a disaggregated run. The total is divided by
# all 16 GPUs, the output by the 8 that decode.
INFERENCEX_DISAGG: dict[str, Any] = {
    "hw": "gb200-nv",
    "conc": 64,
    "image": "lmsysorg/sglang:v0.5.8.post1-cu130",
    "model": "/lustre/models/dsr1",
    "infmax_model_prefix": "dsr1",
    "framework": "dynamo-sglang",
    "precision": "fp4",
    "spec_decoding": "none",
    "disagg": True,
    "isl": 1024,
    "osl": 1024,
    "is_multinode": "true",
    "tp": 16,
    "ep": 8,
    "dp_attention": "false",
    "num_prefill_gpu": 8,
    "num_decode_gpu": 8,
    "tput_per_gpu": 125.0,
    "output_tput_per_gpu": 130.0,
    "input_tput_per_gpu": 120.0,
    "median_ttft": 0.25,
    "p99_ttft": 1.5,
    "median_tpot": 0.0125,
    "p99_tpot": 0.015,
    "std_intvty": 1414.6,
}

# utils/agentic of the same: p75, p90 and p95, and no lengths; the throughput of all GPUs is there.
INFERENCEX_AGENTIC: dict[str, Any] = {
    "hw": "b200-dgxc",
    "conc": 16,
    "image": "vllm/vllm-openai:nightly",
    "model": "Qwen/Qwen3.5-397B-A17B",
    "framework": "vllm",
    "precision": "fp8",
    "disagg": "false",
    "scenario_type": "agentic-coding",
    "isl": None,
    "osl": None,
    "is_multinode": "false",
    "tp": 4,
    "pp": 2,
    "ep": 1,
    "num_requests_total": 120,
    "num_requests_successful": 118,
    "mean_qps": 1.5,
    "p75_ttft": 0.75,
    "p90_ttft": 1.25,
    "p95_ttft": 2.0,
    "p90_tpot": 0.03125,
    "p95_tpot": 0.0625,
    "output_tput_tps": 640.0,
    "total_tput_tps": 8640.0,
    "tput_per_gpu": 1080.0,
    "output_tput_per_gpu": 80.0,
}

# The columns of optimum-benchmark/llm-perf-leaderboard, perf-df-pytorch-cuda-awq-1xT4.csv; the
# figures named in a public reading of its row for Llama-3.1-8B, the other percentiles made.
LLM_PERF: dict[str, str] = {
    "config.name": "4bit-awq-gemv-sdpa",
    "config.backend.name": "pytorch",
    "config.backend.version": "2.4.1+cu124",
    "config.backend.model": "meta-llama/Llama-3.1-8B-Instruct",
    "config.backend.device_ids": "0",
    "config.backend.torch_dtype": "float16",
    "config.backend.quantization_scheme": "awq",
    "config.scenario.name": "inference",
    "config.scenario.input_shapes.batch_size": "1",
    "config.scenario.input_shapes.sequence_length": "256",
    "config.scenario.generate_kwargs.max_new_tokens": "64",
    "config.environment.gpu": "['Tesla T4']",
    "config.environment.gpu_count": "1",
    "config.environment.gpu_vram_mb": "16106127360",
    "config.environment.optimum_benchmark_version": "0.4.0",
    "report.prefill.latency.unit": "s",
    "report.prefill.latency.mean": "0.3676786682128906",
    "report.prefill.latency.p50": "0.3678643798828125",
    "report.prefill.latency.p90": "0.36875",
    "report.prefill.latency.p95": "0.369",
    "report.prefill.latency.p99": "0.3695",
    "report.prefill.latency.values": "[0.36, 0.37]",
    "report.decode.latency.unit": "s",
    "report.decode.latency.p50": "2.0179779541015628",
    "report.decode.throughput.unit": "tokens/s",
    "report.decode.throughput.value": "31.219369801316113",
    "report.decode.memory.unit": "MB",
    "report.decode.memory.max_global_vram": "7500.5",
    "report.per_token.latency.unit": "s",
    "report.per_token.latency.mean": "0.032026476781330415",
    "report.per_token.latency.p50": "0.032",
    "report.per_token.latency.p90": "NaN",
    "report.traceback": "",
}

# The same, of a run that ran out of memory: no report but its traceback.
LLM_PERF_FAILED: dict[str, str] = {
    **{key: value for key, value in LLM_PERF.items() if not key.startswith("report.")},
    "report.traceback": "Traceback (most recent call):\n  ...\nMemoryError: CUDA out of memory",
}

# The examples of tools/llama-bench/README.md of ggml-org/llama.cpp: pp512, tg128; and `-pg 512,128`
# by the code beside it (avg_ts counts both kinds of tokens).
LLAMA_BENCH_PP: dict[str, Any] = {
    "build_commit": "8cf427ff",
    "build_number": 5163,
    "cpu_info": "AMD Ryzen 7 7800X3D 8-Core Processor",
    "gpu_info": "NVIDIA GeForce RTX 4080",
    "backends": "CUDA",
    "model_filename": "models/Qwen2.5-7B-Instruct-Q4_K_M.gguf",
    "model_type": "qwen2 7B Q4_K - Medium",
    "model_size": 4677120000,
    "model_n_params": 7615616512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "type_k": "f16",
    "n_gpu_layers": -1,
    "split_mode": "layer",
    "no_kv_offload": False,
    "n_prompt": 512,
    "n_gen": 0,
    "n_depth": 0,
    "test_time": "2025-04-24T11:58:50Z",
    "avg_ns": 72135640,
    "stddev_ns": 1453752,
    "avg_ts": 7100.002165,
    "stddev_ts": 140.34152,
    "samples_ns": [74601900, 71632900, 71745200, 71952700, 70745500],
    "samples_ts": [6863.1, 7147.55, 7136.37, 7115.79, 7237.21],
}
LLAMA_BENCH_TG: dict[str, Any] = LLAMA_BENCH_PP | {
    "n_prompt": 0,
    "n_gen": 128,
    "test_time": "2025-04-24T11:58:51Z",
    "avg_ns": 1076767880,
    "stddev_ns": 9449585,
    "avg_ts": 118.881588,
    "stddev_ts": 1.041811,
    "samples_ns": [1075361300, 1065089400, 1071761200, 1081934900, 1089692600],
    "samples_ts": [119.03, 120.178, 119.43, 118.307, 117.464],
}
LLAMA_BENCH_PG: dict[str, Any] = LLAMA_BENCH_TG | {
    "gpu_info": "NVIDIA GeForce RTX 4080, NVIDIA GeForce RTX 4080",
    "model_type": "llama 8B F16",
    "n_prompt": 512,
    "n_depth": 256,
    "avg_ts": 500.0,
}

# loadgen's summary, as in AMD's published Llama 2 70B interactive run (ROCm blog, MLPerf 6.0).
MLPERF_SERVER = """================================================
MLPerf Results Summary
================================================
SUT name : PySUT
Scenario : Server
Mode     : PerformanceOnly
Completed samples per second    : 260.10
Completed tokens per second: 73608.25
Result is : VALID
  Performance constraints satisfied : Yes
  Min duration satisfied : Yes
  Min queries satisfied : Yes
  Early stopping satisfied: Yes
TTFT Early Stopping Result:
 * Run successful.
TPOT Early Stopping Result:
 * Run successful.

================================================
Additional Stats
================================================
Scheduled samples per second : 263.64
Min latency (ns)                : 130998483
99.00 percentile latency (ns)   : 32974558540

Completed tokens per second                 : 73608.25
Min First Token latency (ns)                : 23433435
Max First Token latency (ns)                : 908172693
Mean First Token latency (ns)               : 241975280
50.00 percentile first token latency (ns)   : 227905995
90.00 percentile first token latency (ns)   : 363500186
95.00 percentile first token latency (ns)   : 392345040
97.00 percentile first token latency (ns)   : 410349165
99.00 percentile first token latency (ns)   : 447556635
99.90 percentile first token latency (ns)   : 654750233

Mean Time per Output Token (ns)               : 34999429
50.00 percentile time to output token (ns)   : 35971914
90.00 percentile time to output token (ns)   : 37702735
95.00 percentile time to output token (ns)   : 38112643
97.00 percentile time to output token (ns)   : 38340518
99.00 percentile time to output token (ns)   : 38889954

================================================
Test Parameters Used
================================================
samples_per_query : 1
target_qps : 263.5
ttft_latency (ns): 450000000
tpot_latency (ns): 40000000
min_query_count : 24576
"""

# The same source's offline run of gpt-oss-120b: everything at once, and no first tokens.
MLPERF_OFFLINE = """================================================
MLPerf Results Summary
================================================
SUT name : PySUT
Scenario : Offline
Mode     : PerformanceOnly
Samples per second: 69.1714
Tokens per second: 95004
Result is : VALID
  Min duration satisfied : Yes

================================================
Additional Stats
================================================
50.00 percentile latency (ns)   : 2675725005988

================================================
Test Parameters Used
================================================
target_qps : 70
"""

# summary_results.json of mlcommons/inference_results_v4.1, its first objects.
MLPERF_SUMMARY: dict[str, Any] = {
    "ID": "v4.1-0002",
    "Submitter": "AMD",
    "Availability": "available",
    "Category": "closed",
    "Suite": "datacenter",
    "System": "Supermicro AS-8125GS-TNMR2",
    "Platform": "8xMI300X_2xEPYC-9374F",
    "UsedModel": "llama2-70b-99",
    "Model": "llama2-70b-99",
    "Scenario": "Server",
    "Accuracy": "ROUGE1: 44.5522  ROUGE2: 22.1184  ROUGEL: 28.7592  TOKENS_PER_SAMPLE: 293.5",
    "Nodes": 1,
    "Accelerator": "AMD Instinct MI300X-NPS1-SPX-192GB-750W",
    "a#": 8.0,
    "Software": "vLLM 0.4.3+rocm614, PyTorch 2.3.0, ROCm 6.1.2",
    "errors": 0,
    "version": "v4.1",
    "inferred": 0,
    "has_power": False,
    "weight_data_types": "fp8",
    "Performance_Result": 21028.2,
    "Performance_Units": "Tokens/s",
}

# ColumnsAgg and ColumnsDisagg in src/aiconfigurator/sdk/common.py of ai-dynamo/aiconfigurator.
AICONFIGURATOR_AGG: dict[str, str] = {
    "model": "Qwen/Qwen3-32B-FP8",
    "isl": "4000",
    "osl": "500",
    "prefix": "0",
    "concurrency": "64",
    "request_rate": "12.3",
    "bs": "32",
    "ttft": "542.58",
    "tpot": "17.39",
    "request_latency": "9222.18",
    "seq/s": "6.25",
    "seq/s/gpu": "0.78125",
    "tokens/s": "3125.0",
    "tokens/s/gpu": "390.625",
    "tokens/s/user": "57.49",
    "num_total_gpus": "8",
    "tp": "4",
    "pp": "1",
    "dp": "2",
    "moe_ep": "1",
    "parallel": "tp4pp1dp2",
    "gemm": "fp8_block",
    "memory": "61.5",
    "backend": "vllm",
    "version": "0.12.0",
    "system": "h200_sxm",
}
AICONFIGURATOR_DISAGG: dict[str, str] = {
    "model": "Qwen/Qwen3-32B-FP8",
    "isl": "4000",
    "osl": "500",
    "concurrency": "64",
    "ttft": "300.5",
    "tpot": "15.25",
    "seq/s": "8.0",
    "tokens/s/gpu": "250.0",
    "num_total_gpus": "16",
    "(p)tp": "2",
    "(p)gemm": "fp8",
    "(p)backend": "trtllm",
    "(p)version": "1.2.0rc5",
    "(p)system": "h200_sxm",
    "(d)tp": "4",
    "(d)gemm": "fp8",
    "(d)backend": "trtllm",
    "(d)version": "1.2.0rc5",
    "(d)system": "h100_sxm",
}

DOCUMENTS: Mapping[str, Any] = {
    "inferencex_disagg": INFERENCEX_DISAGG,
    "inferencex_agentic": INFERENCEX_AGENTIC,
    "llm_perf": LLM_PERF,
    "llama_bench_tg": LLAMA_BENCH_TG,
    "llama_bench_pg": LLAMA_BENCH_PG,
    "mlperf_server": MLPERF_SERVER,
    "mlperf_offline": MLPERF_OFFLINE,
    "mlperf_summary": MLPERF_SUMMARY,
    "aiconfigurator_agg": AICONFIGURATOR_AGG,
    "aiconfigurator_disagg": AICONFIGURATOR_DISAGG,
}
"""Those that give one record, by name."""
