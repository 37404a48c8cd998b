"""Plausible results made inside Postgres: many thousands a second, straight into their days.

Not marked for the roll-ups: `mark_everything` does that.
"""

from dataclasses import dataclass
from hashlib import md5
from uuid import UUID

import asyncpg

_CONFIGS = """
    INSERT INTO ingest.benchmark_configs (
        id, model_id, model_version_id, hardware_config_id, framework_id, workload_type,
        input_tokens, output_tokens, concurrency, tensor_parallel, pipeline_parallel,
        data_parallel, expert_parallel, provenance
    )
    SELECT md5('config' || n)::uuid, md5('model' || n % $2)::uuid, md5('version' || n % $2)::uuid,
        md5('hardware' || n / $2 % $3)::uuid, md5('framework' || n / ($2 * $3) % $4)::uuid,
        ($5::text[])[1 + n / ($2 * $3 * $4) % cardinality($5::text[])], 1024, 256,
        1 + n / ($2 * $3 * $4 * cardinality($5::text[])), 0, 0, 0, 0, 'simulated'
    FROM generate_series(0, $1::int - 1) AS n
"""
_DAYS = """
    SELECT ingest.create_result_partition((now() AT TIME ZONE 'UTC')::date - ago)
    FROM generate_series(0, $1::int) AS ago
"""
# Each day has as many, and each configuration as many as any other. What is slow has little
# throughput.
_RESULTS = """
    INSERT INTO ingest.benchmark_results (
        id, benchmarked_at, config_id, model_id, model_version_id, hardware_config_id,
        framework_id, stream_id, workload_type, percentile_source, tool, tool_version,
        input_tokens, output_tokens, sequence_length, request_count, failed_request_count,
        ttft_p50_ms, ttft_p90_ms, ttft_p95_ms, ttft_p99_ms, tpot_p50_ms, tpot_p90_ms, tpot_p95_ms,
        tpot_p99_ms, throughput_tokens_sec, rps_sustained, accuracy_score, gpu_utilization_pct,
        memory_used_gb
    )
    SELECT (lpad(to_hex(ms), 12, '0') || '7' || substr(digest, 1, 3) || '8'
            || substr(digest, 4, 15))::uuid,
        to_timestamp(ms / 1000.0), config.id, model_id, model_version_id, hardware_config_id,
        framework_id, md5('stream')::uuid, workload_type, 'measured', 'simulator', '1',
        input_tokens, output_tokens, input_tokens + output_tokens, 1000, 3,
        x, x * 1.8, x * 2, x * 3, x / 20, x / 15, x / 12, x / 10, 1e5 / x, 1e3 / x,
        0.5 + x / 2000, 50 + x / 100, 60 + x / 100
    FROM (
        SELECT i, md5(i::text) AS digest,
            20 + (i::bigint * 7919 % 1009) * 0.5 + (i::bigint * 104729 % 997) * 0.1 AS x,
            (extract(epoch FROM now()) * 1000)::bigint
                - (86400000 * $2::float8 * (1 - i / $1::float8))::bigint AS ms,
            i::bigint * 7919 % $3 AS place
        FROM generate_series(1, $1::int) AS i
    ) AS made
    JOIN ingest.benchmark_configs AS config ON config.id = md5('config' || place)::uuid
    ORDER BY i
"""
_MARK = """
    SELECT ingest.mark_day(day) FROM (
        SELECT DISTINCT benchmark_date AS day FROM ingest.benchmark_results
    ) AS days
"""


@dataclass(frozen=True)
class Shape:
    """How much of what: rows over so many days, of so many configurations, evenly."""

    rows: int
    configs: int
    days: int
    models: int = 20
    hardware: int = 10
    frameworks: int = 2
    workloads: tuple[str, ...] = ("chatbot", "code", "summarization")


def identifier(kind: str, number: int) -> UUID:
    """The id of the numbered config, model, version, hardware or framework."""
    return UUID(md5(f"{kind}{number}".encode(), usedforsecurity=False).hexdigest())


async def fill(dsn: str, shape: Shape) -> None:
    """Makes the configurations and the results, with fresh statistics for the planner."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            _CONFIGS,
            shape.configs,
            shape.models,
            shape.hardware,
            shape.frameworks,
            list(shape.workloads),
        )
        await connection.execute(_DAYS, shape.days)
        await connection.execute(_RESULTS, shape.rows, float(shape.days), shape.configs)
        await connection.execute("VACUUM ANALYZE ingest.benchmark_results")
        await connection.execute("VACUUM ANALYZE ingest.benchmark_configs")
    finally:
        await connection.close()


async def mark_everything(dsn: str) -> None:
    """Marks every day's models and configurations, as the batches would have."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_MARK)
    finally:
        await connection.close()
