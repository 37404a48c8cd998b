"""What the results take up on disk."""

from typing import Final

import asyncpg

# Summed over the days' partitions; what is left besides heap and indexes are maps and long values.
_SIZES: Final = """
    WITH parts AS (
        SELECT inhrelid AS id FROM pg_inherits
        WHERE inhparent = 'ingest.benchmark_results'::regclass
    )
    SELECT 'heap' AS what, sum(pg_relation_size(id)) AS size FROM parts
    UNION ALL
    SELECT parent.relname, sum(pg_relation_size(piece.inhrelid))
    FROM pg_index JOIN pg_class AS parent ON parent.oid = pg_index.indexrelid
    JOIN pg_inherits AS piece ON piece.inhparent = parent.oid
    WHERE pg_index.indrelid = 'ingest.benchmark_results'::regclass
    GROUP BY parent.relname
    UNION ALL
    SELECT 'all', sum(pg_total_relation_size(id)) FROM parts
"""


async def bytes_per_row(dsn: str) -> dict[str, float]:
    """Bytes a row of the heap, of each index by name, and of `all`."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetchval("SELECT count(*) FROM ingest.benchmark_results")
        sizes = await connection.fetch(_SIZES)
    finally:
        await connection.close()
    found = {record["what"]: round(float(record["size"]) / rows, 1) for record in sizes}
    for what, size in found.items():
        print(f"  {what:<48}{size:>8.1f} bytes/row", flush=True)
    return found
