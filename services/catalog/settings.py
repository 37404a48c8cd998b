"""The catalog's settings: those of every service, and how late a future price may show."""

from pydantic import Field

from servemark.runtime.settings import ServiceSettings


class CatalogSettings(ServiceSettings):
    """The catalog's settings. A price that starts in the future shows at most this late."""

    price_refresh_seconds: float = Field(default=60.0, gt=0, le=3600)
