"""SQL text for the percentiles of many runs, merged from their latency sketches; nothing runs here.

Both forms give the same numbers, as do `services.ingest.sketches`. Which to take was measured on
PostgreSQL 18.6, runs of 122 buckets, four percentiles, milliseconds of CPU:

    runs               groups    pooled_columns    pooled_query
    300                     1               6.6             5.2
    90,000                  1              1939            1406
    30,000               1000               749            1318 (grouped likewise)
    90,000               3000              2176            4445 (grouped likewise)

So the query is for one pool, and the columns are for groups: the query would sort the buckets of
all groups together. A continuous aggregate or a roll-up stores `ingest.merge_sketches(column)`,
and quantiles are taken when it is read; such merged sketches may be merged again by either form.

The arguments become part of the SQL text: never pass on what a caller sent.
"""

from typing import Final

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}

# The zeros as a bucket: below all that a sketch may hold.
_ZEROS: Final = -1101


def pooled_columns(sketch: str, name: str) -> str:
    """Entries of a select list: percentiles over the sketches of each group.

    sketch: an expression of type int[] or bigint[]. The entries are `<name>_p50_ms`, `_p90_ms`,
    `_p95_ms`, `_p99_ms` and `<name>_sample_count`; all are NULL where no row has a sketch, the
    percentiles also where no sketch has a sample. PostgreSQL merges each group once.
    """
    merged = f"ingest.merge_sketches({sketch})"
    entries = [
        f"ingest.sketch_quantile({merged}, {q}) AS {name}_{label}_ms"
        for label, q in QUANTILES.items()
    ]
    return ", ".join([*entries, f"ingest.sketch_count({merged}) AS {name}_sample_count"])


def pooled_query(sketches: str, name: str) -> str:
    """A query for one row: percentiles over all sketches together.

    sketches: a query with one column of type int[] or bigint[]. The columns are those of
    `pooled_columns`. It needs none of the functions in the database.
    """
    places = ", ".join(
        "min(bucket) FILTER "
        f"(WHERE running >= greatest(1, ceil(CAST({q} AS double precision) * n))) AS {label}"
        for label, q in QUANTILES.items()
    )
    values = ", ".join(
        f"CASE {label} WHEN {_ZEROS} THEN 0 "
        f"ELSE 0.99 * power(CAST(101 AS double precision) / 99, {label}) END AS {name}_{label}_ms"
        for label in QUANTILES
    )
    # Two set-returning functions side by side in a select list walk in step, and are twice as fast
    # as unnest WITH ORDINALITY in FROM, which first stores each array as rows.
    return f"""
        WITH runs (sketch) AS (
            {sketches}
        ),
        counts AS (
            SELECT
                generate_series(sketch[1], sketch[1] + cardinality(sketch) - 3) AS bucket,
                unnest(sketch[3:]) AS one
            FROM runs
            UNION ALL
            SELECT {_ZEROS}, sketch[2] FROM runs
        ),
        buckets AS (SELECT bucket, sum(one) AS samples FROM counts GROUP BY bucket),
        sums AS (
            SELECT
                bucket,
                sum(samples) OVER (ORDER BY bucket) AS running,
                sum(samples) OVER () AS n
            FROM buckets
        ),
        places AS (SELECT {places}, CAST(max(n) AS bigint) AS n FROM sums)
        SELECT {values}, n AS {name}_sample_count FROM places
    """  # noqa: S608
