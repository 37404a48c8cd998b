"""The ranking's settings: those of every service, and how closely rankings follow the results."""

from pydantic import Field

from servemark.runtime.settings import ServiceSettings


class RankingSettings(ServiceSettings):
    """`SERVEMARK_RANKING_…`; all have defaults."""

    ranking_ttl_seconds: float = Field(default=900.0, gt=0, le=30 * 86_400)
    """How long a stored ranking is served before it is calculated anew."""

    ranking_debounce_seconds: float = Field(default=0.5, ge=0, le=60)
    """How long to wait after an event for those that come with it."""

    ranking_reconcile_seconds: float = Field(default=30.0, gt=0, le=3600)
    """How often everything is read anew, whatever events say: a lost event costs at most this."""

    ranking_reconcile_without_events_seconds: float = Field(default=5.0, gt=0, le=3600)
    """The same while no events come, because there is no Redis or it does not answer."""

    ranking_suitability_seconds: float = Field(default=5.0, gt=0, le=3600)
    """How often the catalog's model use cases are made to agree with the stored rankings."""

    ranking_reference_candidates: int = Field(default=30, ge=1)
    """How many candidates must stand behind a fixed reference bound before it stays for good."""
