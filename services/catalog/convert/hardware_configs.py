"""Hardware configurations: message, row and filters."""

import math
from collections.abc import Collection

from servemark.catalog.v1.hardware_config_pb2 import (
    HardwareConfig,
    HardwareConfigOrder,
    ListHardwareConfigsRequest,
)
from servemark.runtime.validation import Violations
from services.catalog.convert.fields import (
    bounds_from_proto,
    history_to_proto,
    json_from_proto,
    json_to_proto,
    words_from_proto,
)
from services.catalog.records import HardwareConfigRow
from services.catalog.resource import Resource, Values
from services.catalog.store_collections import HARDWARE_CONFIGS


def hardware_config_from_proto(
    hardware: HardwareConfig, fields: Collection[str], violations: Violations
) -> Values:
    """The columns of the named fields."""
    check = violations
    values: Values = {}
    if "name" in fields:
        values["name"] = check.text("name", hardware.name, max_len=256)
    if "gpu_type" in fields:
        values["gpu_type"] = check.text("gpu_type", hardware.gpu_type, max_len=64)
    if "gpu_count" in fields:
        check.number("gpu_count", hardware.gpu_count, low=1, high=4096)
        values["gpu_count"] = hardware.gpu_count
    if "vram_per_gpu_gb" in fields:
        check.number("vram_per_gpu_gb", hardware.vram_per_gpu_gb, low=1, high=4096)
        values["vram_per_gpu_gb"] = hardware.vram_per_gpu_gb
    if "cloud_provider" in fields:
        values["cloud_provider"] = check.text(
            "cloud_provider", hardware.cloud_provider, max_len=64, lower=True
        )
    if "instance_type" in fields:
        values["instance_type"] = check.text("instance_type", hardware.instance_type, max_len=128)
    if "specs" in fields:
        values["specs"] = json_from_proto(check, "specs", hardware.specs)
    return values


def hardware_config_to_proto(row: HardwareConfigRow) -> HardwareConfig:
    """The message of a row."""
    hardware = HardwareConfig(
        name=row.name,
        gpu_type=row.gpu_type,
        gpu_count=row.gpu_count,
        vram_per_gpu_gb=row.vram_per_gpu_gb,
        total_vram_gb=row.total_vram_gb,
        cloud_provider=row.cloud_provider,
        instance_type=row.instance_type,
        cost_per_hour_usd=row.cost_per_hour_usd,
        spot_available=row.spot_available,
    )
    json_to_proto(row.specs, hardware.specs)
    history_to_proto(row, hardware)
    return hardware


def hardware_config_filters_from_proto(
    request: ListHardwareConfigsRequest, violations: Violations
) -> Values:
    """The filters that are set."""
    filters = bounds_from_proto(violations, request, "min_total_vram_gb", "max_total_vram_gb")
    if request.gpu_types:
        filters["gpu_types"] = words_from_proto(
            violations, "gpu_types", request.gpu_types, max_len=64
        )
    if request.cloud_providers:
        filters["cloud_providers"] = words_from_proto(
            violations, "cloud_providers", request.cloud_providers, max_len=64, lower=True
        )
    limit = request.max_cost_per_hour_usd
    violations.number("max_cost_per_hour_usd", limit, low=0, high=math.inf)
    if limit:
        filters["max_cost_per_hour_usd"] = limit
    if request.spot_available:
        filters["spot_available"] = True
    return filters


HARDWARE_CONFIG = Resource(
    field="hardware_config",
    collection=HARDWARE_CONFIGS,
    mutable=(
        "name",
        "gpu_type",
        "gpu_count",
        "vram_per_gpu_gb",
        "cloud_provider",
        "instance_type",
        "specs",
    ),
    from_proto=hardware_config_from_proto,
    to_proto=hardware_config_to_proto,
    filters_from_proto=hardware_config_filters_from_proto,
    orders={
        HardwareConfigOrder.HARDWARE_CONFIG_ORDER_UNSPECIFIED: "name",
        HardwareConfigOrder.HARDWARE_CONFIG_ORDER_NAME: "name",
        HardwareConfigOrder.HARDWARE_CONFIG_ORDER_TOTAL_VRAM: "total_vram",
        HardwareConfigOrder.HARDWARE_CONFIG_ORDER_COST: "cost",
        HardwareConfigOrder.HARDWARE_CONFIG_ORDER_CREATE_TIME: "create_time",
    },
)
