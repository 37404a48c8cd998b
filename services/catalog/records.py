"""What the store gives out: one frozen dataclass for each table, fields named as its columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRow:
    """What every resource has. `etag` counts its changes; `archived_at` is None while active."""

    id: UUID
    etag: int
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow(ResourceRow):
    """A model. `parameters` counts all experts; `active_parameters` is 0 for a dense model."""

    name: str
    architecture: str
    parameters: int
    active_parameters: int
    base_model: str
    metadata: Json
    tags: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersionRow(ResourceRow):
    """A model version, with its model's name. `vram_requirement_gb` is in units of 10^9 bytes."""

    model_id: UUID
    model_name: str
    version: str
    quantization: str
    quantization_bits: int
    format: str
    artifact_uri: str
    model_config: Json
    vram_requirement_gb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareConfigRow(ResourceRow):
    """A hardware configuration. `cost_per_hour_usd` is None where no current price is known."""

    name: str
    gpu_type: str
    gpu_count: int
    vram_per_gpu_gb: int
    total_vram_gb: int
    cost_per_hour_usd: float | None
    cloud_provider: str
    instance_type: str
    spot_available: bool
    specs: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceFrameworkRow(ResourceRow):
    """An inference framework in one version."""

    name: str
    version: str
    capabilities: Json
    supports_quantization: bool
    supports_streaming: bool
    config_template: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCaseRow(ResourceRow):
    """A use case. Its two JSON columns hold messages of the contract in their JSON form."""

    category: str
    subcategory: str
    pipeline_tag: str
    characteristics: Json
    default_weights: Sequence[Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUseCaseRow(ResourceRow):
    """How well a model suits a use case. `suitability_score` is None where nobody judged it."""

    model_id: UUID
    use_case_id: UUID
    suitability_score: float | None
    recommended: bool
    priority: int
    performance_summary: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwarePriceRow:
    """A price of a whole instance in [valid_from, valid_to); `valid_to` None: it has no end yet."""

    id: UUID
    hardware_config_id: UUID
    region: str
    purchase_option: str
    usd_per_hour: float
    valid_from: datetime
    valid_to: datetime | None
    source: str
