"""The ingest service's settings: those of every service, and the bounds of what it takes in."""

from pydantic import Field, field_validator

from servemark.runtime.settings import ServiceSettings
from services.ingest.archive.objects import check_location
from services.ingest.failpoints import Failpoints


class IngestSettings(ServiceSettings):
    """The ingest service's settings.

    Results older than `retention_days` are refused; days of them go once they lie in the archive at
    `archive_url`, and stay where there is none. Batches that wait to be stored take up about
    `max_bytes_in_flight` at most, and one message of each call that waits to be let in.
    `failpoints` is for tests of faults.
    """

    retention_days: int = Field(default=3650, ge=1, le=36_500)
    archive_url: str = ""
    max_bytes_in_flight: int = Field(default=256 * 1024 * 1024, ge=1024 * 1024)
    roll_up_seconds: float = Field(default=0.2, gt=0, le=3600)
    maintenance_seconds: float = Field(default=3600.0, gt=0, le=86_400)
    failpoints: str = ""

    @field_validator("archive_url")
    @classmethod
    def _archive_location(cls, value: str) -> str:
        return check_location(value) if value else ""

    @field_validator("failpoints")
    @classmethod
    def _known_failpoints(cls, value: str) -> str:
        Failpoints(value)
        return value
