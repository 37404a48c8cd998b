"""Let the database compute what follows from other rows: VRAM, current prices, change counts.

Whoever writes to the tables, these figures are right when the transaction commits.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

RESOURCES = (
    "models",
    "model_versions",
    "hardware_configs",
    "inference_frameworks",
    "use_case_taxonomy",
    "model_use_cases",
)

COUNT_CHANGE = """
CREATE FUNCTION catalog.count_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.etag := OLD.etag + 1;
    -- The transaction may have waited for its lock: its start could lie before the last change.
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$
"""

# Bytes are parameters x bits / 8 x 1.2; GB are 10^9 of them. Multiplications only, in exact decimal
# arithmetic: 70e9 parameters of 16 bits are 168 GB, not 168.00000000000003.
VRAM_GB = """
CREATE FUNCTION catalog.vram_gb(parameters bigint, bits integer) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (parameters::numeric * bits * 0.125 * 1.2 * 0.000000001)::double precision
"""

# FOR SHARE: without it, a version created while the model's parameter count changes would keep the
# old figure, because neither transaction would see the other's row.
SET_VRAM = """
CREATE FUNCTION catalog.set_vram() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT catalog.vram_gb(m.parameters, NEW.quantization_bits) INTO NEW.vram_requirement_gb
    FROM catalog.models m WHERE m.id = NEW.model_id FOR SHARE;
    RETURN NEW;
END $$
"""

# A version shows its model's name, so a new name is a change of the version, too.
TOUCH_VERSIONS = """
CREATE FUNCTION catalog.touch_versions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE catalog.model_versions
    SET vram_requirement_gb = catalog.vram_gb(NEW.parameters, quantization_bits)
    WHERE model_id = NEW.id;
    RETURN NULL;
END $$
"""

# The lowest current on-demand price; where there is none, the lowest current one of any other kind.
# Callers lock the hardware rows first, so that the prices read here are the newest.
REFRESH_CURRENT_PRICES = """
CREATE FUNCTION catalog.refresh_current_prices(hardware_ids uuid[], at timestamptz)
RETURNS SETOF uuid LANGUAGE sql AS $$
    WITH current AS (
        SELECT h.id,
               coalesce(
                   min(p.usd_per_hour) FILTER (WHERE p.purchase_option = 'on_demand'),
                   min(p.usd_per_hour)
               ) AS cost,
               coalesce(bool_or(p.purchase_option = 'spot'), false) AS spot
        FROM catalog.hardware_configs h
        LEFT JOIN catalog.hardware_prices p
            ON p.hardware_config_id = h.id
            AND p.valid_from <= at AND (p.valid_to IS NULL OR p.valid_to > at)
        WHERE h.id = ANY (hardware_ids)
        GROUP BY h.id
    )
    UPDATE catalog.hardware_configs h
    SET cost_per_hour_usd = c.cost, spot_available = c.spot
    FROM current c
    WHERE h.id = c.id
      AND (h.cost_per_hour_usd, h.spot_available) IS DISTINCT FROM (c.cost, c.spot)
    RETURNING h.id
$$
"""


def upgrade() -> None:
    for statement in (COUNT_CHANGE, VRAM_GB, SET_VRAM, TOUCH_VERSIONS, REFRESH_CURRENT_PRICES):
        op.execute(statement)
    for table in RESOURCES:
        op.execute(
            f"CREATE TRIGGER count_change BEFORE UPDATE ON catalog.{table} "
            "FOR EACH ROW EXECUTE FUNCTION catalog.count_change()"
        )
    op.execute(
        "CREATE TRIGGER set_vram BEFORE INSERT OR UPDATE ON catalog.model_versions "
        "FOR EACH ROW EXECUTE FUNCTION catalog.set_vram()"
    )
    op.execute(
        "CREATE TRIGGER touch_versions AFTER UPDATE ON catalog.models FOR EACH ROW "
        "WHEN ((OLD.parameters, OLD.name) IS DISTINCT FROM (NEW.parameters, NEW.name)) "
        "EXECUTE FUNCTION catalog.touch_versions()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER touch_versions ON catalog.models")
    op.execute("DROP TRIGGER set_vram ON catalog.model_versions")
    for table in RESOURCES:
        op.execute(f"DROP TRIGGER count_change ON catalog.{table}")
    for function in (
        "refresh_current_prices(uuid[], timestamptz)",
        "touch_versions()",
        "set_vram()",
        "vram_gb(bigint, integer)",
        "count_change()",
    ):
        op.execute(f"DROP FUNCTION catalog.{function}")
