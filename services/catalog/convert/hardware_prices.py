"""Hardware prices: message, row and filters."""

import math

from servemark.catalog.v1.hardware_price_pb2 import HardwarePrice, ListHardwarePricesRequest
from servemark.runtime.paging import page_size
from servemark.runtime.validation import Violations, plain
from servemark.type.v1.provenance_pb2 import PurchaseOption
from services.catalog.convert.fields import time_from_proto
from services.catalog.records import HardwarePriceRow
from services.catalog.store_prices import NewPrice, PriceQuery

_OPTIONS = {
    PurchaseOption.PURCHASE_OPTION_ON_DEMAND: "on_demand",
    PurchaseOption.PURCHASE_OPTION_SPOT: "spot",
    PurchaseOption.PURCHASE_OPTION_RESERVED: "reserved",
}
_OPTION_NUMBERS = {word: number for number, word in _OPTIONS.items()}
MAX_USD_PER_HOUR = 1_000_000


def hardware_price_from_proto(price: HardwarePrice) -> NewPrice:
    """The price to set. Raises INVALID_FIELD naming every wrong field."""
    check = Violations("hardware_price.")
    hardware_id = check.uuid("hardware_config_id", price.hardware_config_id)
    region = check.text("region", price.region, max_len=64, required=False)
    check.enum("purchase_option", price.purchase_option, list(PurchaseOption.values()))
    usd = price.usd_per_hour
    if not (math.isfinite(usd) and 0 < usd <= MAX_USD_PER_HOUR):
        text = f"is {plain(usd)}; it must be above 0 and at most {MAX_USD_PER_HOUR}"
        check.add("usd_per_hour", text)
    if not price.HasField("valid_from_time"):
        check.add("valid_from_time", "is required")
    valid_from = time_from_proto(check, "valid_from_time", price.valid_from_time)
    source = check.text("source", price.source, max_len=512)
    check.raise_if_any()
    assert hardware_id is not None  # noqa: S101  (a wrong one has raised)
    return NewPrice(
        hardware_config_id=hardware_id,
        region=region,
        purchase_option=_OPTIONS[price.purchase_option],
        usd_per_hour=usd,
        valid_from=valid_from,
        source=source,
    )


def hardware_price_to_proto(row: HardwarePriceRow) -> HardwarePrice:
    """The message of a row."""
    price = HardwarePrice(
        id=str(row.id),
        hardware_config_id=str(row.hardware_config_id),
        region=row.region,
        purchase_option=_OPTION_NUMBERS[row.purchase_option],
        usd_per_hour=row.usd_per_hour,
        source=row.source,
    )
    price.valid_from_time.FromDatetime(row.valid_from)
    if row.valid_to is not None:
        price.valid_to_time.FromDatetime(row.valid_to)
    return price


def price_query_from_proto(
    request: ListHardwarePricesRequest, after: list[object] | None
) -> PriceQuery:
    """What a list is asked for. Raises INVALID_FIELD naming every wrong field."""
    check = Violations()
    size = page_size(check, request.page_size)
    ids = check.uuids("hardware_config_ids", request.hardware_config_ids)
    region = check.text("region", request.region, max_len=64, required=False)
    options: list[str] = []
    for index, option in enumerate(request.purchase_options):
        check.enum(
            f"purchase_options[{index}]", option, list(PurchaseOption.values()), required=False
        )
        # Not set means on demand wherever a price is looked up.
        options.append(_OPTIONS.get(option, "on_demand"))
    valid_at = None
    if request.HasField("valid_at_time"):
        valid_at = time_from_proto(check, "valid_at_time", request.valid_at_time)
    check.raise_if_any()
    return PriceQuery(
        hardware_config_ids=ids,
        region=region,
        purchase_options=options,
        valid_at=valid_at,
        after=after,
        size=size,
    )
