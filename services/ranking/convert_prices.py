"""Which prices a request counts with, and the price an alternative was counted with."""

from collections.abc import Iterable

from servemark.ranking.v1.candidate_pb2 import PriceBasis as PriceBasisMessage
from servemark.ranking.v1.candidate_pb2 import PriceOverride, PriceUsed
from servemark.runtime.validation import Violations
from servemark.type.v1.provenance_pb2 import PurchaseOption
from services.ranking.candidates import DEFAULT_OPTIONS, PriceBasis
from services.ranking.content import Price
from services.ranking.convert_time import micros_from_proto, write_time
from services.ranking.matrix import Matrix

MAX_OVERRIDES = 1000
MAX_USD = 1e9
# What a Timestamp may hold: the years 1 to 9999.
_SECONDS = (-62_135_596_800, 253_402_300_799)


def price_basis_from_proto(
    wrong: Violations, message: PriceBasisMessage, matrix: Matrix
) -> PriceBasis:
    """The basis; wrong fields are noted, and it means nothing then."""
    for index, option in enumerate(message.purchase_options):
        field = f"price_basis.purchase_options[{index}]"
        wrong.enum(field, option, PurchaseOption.values(), required=False)
    region = wrong.text("price_basis.region", message.region, max_len=64, required=False)
    at_us = None
    if message.HasField("price_time"):
        at_us = micros_from_proto(message.price_time)
        if not (
            _SECONDS[0] <= message.price_time.seconds <= _SECONDS[1]
            and 0 <= message.price_time.nanos < 1_000_000_000
        ):
            wrong.add("price_basis.price_time", "is not a time of the years 1 to 9999")
    return PriceBasis(
        # Not set means on demand, wherever a price is looked up.
        purchase_options=tuple(
            option or PurchaseOption.PURCHASE_OPTION_ON_DEMAND
            for option in message.purchase_options
        )
        or DEFAULT_OPTIONS,
        region=region,
        at_us=at_us,
        overrides=_overrides(wrong, message.overrides, matrix) if message.overrides else (),
    )


def _overrides(
    wrong: Violations, overrides: Iterable[PriceOverride], matrix: Matrix
) -> tuple[tuple[str, float], ...]:
    """Hardware ids and prices, in order of id."""
    given = list(overrides)
    if len(given) > MAX_OVERRIDES:
        text = f"has {len(given)} entries; at most {MAX_OVERRIDES} are allowed"
        wrong.add("price_basis.overrides", text)
        return ()
    found: dict[str, float] = {}
    for index, override in enumerate(given):
        field = f"price_basis.overrides[{index}]"
        name = wrong.text(f"{field}.hardware", override.hardware, max_len=256)
        identifier = matrix.hardware.get(name.casefold())
        if name and identifier is None:
            wrong.add(f"{field}.hardware", f"is {name[:100]!r}, on which nothing was measured")
        elif identifier in found:
            wrong.add(f"{field}.hardware", f"repeats {name[:100]!r}")
        if not 0 < override.usd_per_hour <= MAX_USD:
            text = f"is {override.usd_per_hour:g}; it must be above 0 and at most {MAX_USD:,.0f}"
            wrong.add(f"{field}.usd_per_hour", text)
        if identifier is not None:
            found[identifier] = override.usd_per_hour
    return tuple(sorted(found.items()))


def write_price(message: PriceUsed, price: Price) -> None:
    """Writes the price as it was counted."""
    message.usd_per_hour = price.usd_per_hour
    message.purchase_option = PurchaseOption.ValueType(price.purchase_option)
    message.region = price.region
    message.source = price.source
    if price.purchase_option != PurchaseOption.PURCHASE_OPTION_UNSPECIFIED:
        write_time(message.valid_from_time, price.valid_from_us)
