"""Merge latency sketches in the database, and read percentiles from what was merged.

    SELECT ingest.sketch_quantile(ingest.merge_sketches(ttft_sketch), 0.95) FROM benchmark_results …

A sketch is an array: the first bucket, the samples of 0 ms, then the counts of the buckets from the
first on. Merged ones have bigints, which no number of runs overflows. The loops are PL/pgSQL, which
keeps the aggregate's state as one array in memory and adds to it in place: 22 microseconds a run of
150 buckets (20,000 runs), where unnesting and grouping by bucket took 27 for one pool and 55 for a
thousand.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# `added` is a run's sketch when it goes into the state, and a state when two are combined.
ADD = """
CREATE FUNCTION ingest.{name}(merged bigint[], added {kind}[]) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    size int := cardinality(added);
    -- How many buckets `merged` lacks in front of and behind what `added` counts.
    before int;
    behind int;
    shift int;
BEGIN
    IF added IS NULL OR size < 2 THEN
        RETURN merged;
    ELSIF merged IS NULL OR cardinality(merged) <= 2 THEN
        IF merged IS NULL THEN
            RETURN added;
        END IF;
        RETURN ARRAY[added[1]::bigint, merged[2] + added[2]] || added[3:]::bigint[];
    ELSIF size > 2 THEN
        before := merged[1] - added[1];
        behind := added[1] + size - merged[1] - cardinality(merged);
        IF before > 0 OR behind > 0 THEN
            merged := ARRAY[least(merged[1], added[1]), merged[2]]
                || array_fill(0::bigint, ARRAY[greatest(before, 0)])
                || merged[3:]
                || array_fill(0::bigint, ARRAY[greatest(behind, 0)]);
        END IF;
        shift := added[1] - merged[1];
        FOR i IN 3..size LOOP
            merged[i + shift] := merged[i + shift] + added[i];
        END LOOP;
    END IF;
    merged[2] := merged[2] + added[2];
    RETURN merged;
END
$$
"""

AGGREGATE = """
CREATE AGGREGATE ingest.merge_sketches(int[]) (
    SFUNC = ingest.sketch_add, STYPE = bigint[], COMBINEFUNC = ingest.sketch_combine,
    PARALLEL = SAFE
)
"""

# gamma = 1.01 / 0.99; a bucket stands for the value that is within 1 % of all in it.
QUANTILE = """
CREATE FUNCTION ingest.sketch_quantile(sketch bigint[], q double precision)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    gamma CONSTANT double precision := 1.01::double precision / 0.99::double precision;
    total numeric := ingest.sketch_count(sketch);
    rank bigint := greatest(ceil(q * total::double precision), 1);
    seen bigint := sketch[2];
BEGIN
    IF total = 0 THEN
        RETURN NULL;
    ELSIF rank <= seen THEN
        RETURN 0;
    END IF;
    FOR i IN 3..cardinality(sketch) LOOP
        seen := seen + sketch[i];
        IF seen >= rank THEN
            RETURN 2 * power(gamma, sketch[1] + i - 3) / (gamma + 1);
        END IF;
    END LOOP;
    RETURN NULL;
END
$$
"""

COUNT = """
CREATE FUNCTION ingest.sketch_count(sketch bigint[]) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT sketch[2] + coalesce(sum(n), 0) FROM unnest(sketch[3:]) AS n
$$
"""


def upgrade() -> None:
    op.execute(ADD.format(name="sketch_add", kind="int"))
    op.execute(ADD.format(name="sketch_combine", kind="bigint"))
    op.execute(AGGREGATE)
    op.execute(COUNT)
    op.execute(QUANTILE)


def downgrade() -> None:
    op.execute("DROP FUNCTION ingest.sketch_quantile(bigint[], double precision)")
    op.execute("DROP FUNCTION ingest.sketch_count(bigint[])")
    op.execute("DROP AGGREGATE ingest.merge_sketches(int[])")
    op.execute("DROP FUNCTION ingest.sketch_combine(bigint[], bigint[])")
    op.execute("DROP FUNCTION ingest.sketch_add(bigint[], int[])")
