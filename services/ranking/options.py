"""What a request asks for beside the ranking, with every default filled in."""

from dataclasses import dataclass

from services.ranking.confidence import DEFAULT_SAMPLES as CONFIDENCE_SAMPLES
from services.ranking.replicas import DEFAULT_HEADROOM
from services.ranking.smaa import DEFAULT_KAPPA
from services.ranking.smaa import DEFAULT_SAMPLES as ACCEPTABILITY_SAMPLES


@dataclass(frozen=True, slots=True)
class Options:
    """Which answers to give. On by default is what costs little."""

    infeasible: bool = True
    dominance: bool = True
    contributions: bool = True
    stability: bool = True
    acceptability: bool = False
    confidence: bool = False
    acceptability_samples: int = ACCEPTABILITY_SAMPLES
    acceptability_concentration: float = DEFAULT_KAPPA
    confidence_samples: int = CONFIDENCE_SAMPLES


@dataclass(frozen=True, slots=True)
class Target:
    """The requests per second to serve, and the share of each instance that is kept free."""

    requests_per_second: float
    headroom: float = DEFAULT_HEADROOM


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What estimates are made for; None may be anything that was measured."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    concurrency: int | None = None
    request_rate: float | None = None
