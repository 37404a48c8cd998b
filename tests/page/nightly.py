"""Nightly runs of one configuration over three months, with a week in which nothing ran."""

import random
from datetime import UTC, datetime, timedelta

from servemark.client.channel import Client
from servemark.client.config import Config

FIRST_NIGHT = datetime(2026, 6, 1, 2, tzinfo=UTC)
NIGHTS = 90
GAP = range(40, 48)
RUNS_A_NIGHT = 3
CONFIG = Config(
    "Qwen/Qwen3-8B",
    "gcp/a3-highgpu-1g",
    "vllm",
    "chatbot",
    framework_version="0.11.0",
    input_tokens=512,
    output_tokens=256,
    concurrency=32,
    tp=1,
)


def store_nightly_runs(client: Client) -> None:
    """Stores the runs; again, it stores nothing. Latency falls by a quarter with night 60."""
    draw = random.Random(7)
    with client.stream(tool="nightly", tool_version="1.4", provenance="measured") as stream:
        for night in range(NIGHTS):
            level = 0.75 if night >= 60 else 1.0
            runs = [draw.gauss(1, 0.03) for _ in range(RUNS_A_NIGHT)]
            if night in GAP:
                continue
            for run, noise in enumerate(runs):
                ttft, tpot = 95 * level * noise, 11 * noise
                stream.add_result(
                    CONFIG,
                    benchmark_time=FIRST_NIGHT + timedelta(days=night, minutes=20 * run),
                    key=f"{night}/{run}",
                    ttft_p50_ms=ttft,
                    ttft_p90_ms=ttft * 1.7,
                    ttft_p99_ms=ttft * 3.1,
                    tpot_p50_ms=tpot,
                    tpot_p90_ms=tpot * 1.2,
                    tpot_p99_ms=tpot * 1.5,
                    throughput_tokens_sec=2600 / noise,
                    rps_sustained=10.1 / noise,
                )
