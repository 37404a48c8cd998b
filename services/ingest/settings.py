"""The ingest service's settings: those of every service, and the bounds of what it takes in."""

from pydantic import Field, field_validator

from servemark.runtime.settings import ServiceSettings
from services.ingest.failpoints import Failpoints


class IngestSettings(ServiceSettings):
    """The ingest service's settings.

    Results older than `retention_days` are refused. Not more than about `max_bytes_in_flight` of
    batches wait in the process. `failpoints` is for tests of faults.
    """

    retention_days: int = Field(default=3650, ge=1, le=36_500)
    max_bytes_in_flight: int = Field(default=256 * 1024 * 1024, ge=1024 * 1024)
    roll_up_seconds: float = Field(default=0.2, gt=0, le=3600)
    failpoints: str = ""

    @field_validator("failpoints")
    @classmethod
    def _known_failpoints(cls, value: str) -> str:
        Failpoints(value)
        return value
