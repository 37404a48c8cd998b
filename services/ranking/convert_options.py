"""What a request asks for beside the ranking, into the words of the ranking."""

from servemark.ranking.v1.answers_pb2 import AnswerOptions
from servemark.ranking.v1.estimates_pb2 import OperatingPoint as OperatingPointMessage
from servemark.ranking.v1.recommend_pb2 import RecommendRequest
from servemark.runtime.validation import Violations
from services.ranking.options import OperatingPoint, Options, Target
from services.ranking.replicas import DEFAULT_HEADROOM

MAX_RATE = 1e9
MAX_HEADROOM = 0.95
SAMPLES = (100, 100_000)
CONCENTRATION = (0.1, 10_000.0)
_MAX_TOKENS = 2**31 - 1


def options_from_proto(wrong: Violations, message: AnswerOptions) -> Options:
    """The answers asked for; wrong fields are noted, and it means nothing then."""
    for name in ("acceptability_sample_count", "confidence_sample_count"):
        count = getattr(message, name)
        if count:
            wrong.number(f"answers.{name}", count, low=SAMPLES[0], high=SAMPLES[1])
    usual = Options()
    concentration = usual.acceptability_concentration
    if message.HasField("acceptability_concentration"):
        concentration = message.acceptability_concentration
        low, high = CONCENTRATION
        wrong.number("answers.acceptability_concentration", concentration, low=low, high=high)
    chosen = {
        name: getattr(message, name)
        for name in (
            "infeasible",
            "dominance",
            "contributions",
            "stability",
            "acceptability",
            "confidence",
        )
        if message.HasField(name)
    }
    return Options(
        **chosen,
        acceptability_samples=message.acceptability_sample_count or usual.acceptability_samples,
        acceptability_concentration=concentration,
        confidence_samples=message.confidence_sample_count or usual.confidence_samples,
    )


def options_to_proto(options: Options) -> AnswerOptions:
    """The answers given, defaults filled in."""
    return AnswerOptions(
        infeasible=options.infeasible,
        dominance=options.dominance,
        contributions=options.contributions,
        stability=options.stability,
        acceptability=options.acceptability,
        confidence=options.confidence,
        acceptability_sample_count=options.acceptability_samples,
        acceptability_concentration=options.acceptability_concentration,
        confidence_sample_count=options.confidence_samples,
    )


def target_from_proto(wrong: Violations, message: RecommendRequest) -> Target | None:
    """The rate to serve; None where there is none."""
    headroom = message.headroom if message.HasField("headroom") else DEFAULT_HEADROOM
    wrong.number("headroom", headroom, low=0, high=MAX_HEADROOM)
    if not message.HasField("target_requests_per_second"):
        if message.HasField("headroom"):
            wrong.add("headroom", "means nothing without target_requests_per_second")
        return None
    rate = message.target_requests_per_second
    if not 0 < rate <= MAX_RATE:
        text = f"is {rate:g}; it must be above 0 and at most {MAX_RATE:,.0f}"
        wrong.add("target_requests_per_second", text)
    return Target(rate, headroom)


def operating_point_from_proto(
    wrong: Violations, message: RecommendRequest
) -> OperatingPoint | None:
    """What estimates are asked for; None where none are."""
    if not message.include_estimates:
        if message.HasField("operating_point"):
            wrong.add("operating_point", "means nothing without include_estimates")
        return None
    point = message.operating_point
    found: dict[str, float] = {}
    for name in ("input_tokens", "output_tokens", "concurrency"):
        if point.HasField(name):
            found[name] = getattr(point, name)
            wrong.number(f"operating_point.{name}", found[name], low=1, high=_MAX_TOKENS)
    if point.HasField("request_rate"):
        found["request_rate"] = point.request_rate
        if not 0 < point.request_rate <= MAX_RATE:
            text = f"is {point.request_rate:g}; it must be above 0 and at most {MAX_RATE:,.0f}"
            wrong.add("operating_point.request_rate", text)
        if point.HasField("concurrency"):
            text = "cannot be given together with concurrency: a load is one or the other"
            wrong.add("operating_point.request_rate", text)
    if not found:
        wrong.add("operating_point", "is required with include_estimates, with a load or a length")
    return _point(point)


def _point(message: OperatingPointMessage) -> OperatingPoint:
    return OperatingPoint(
        input_tokens=message.input_tokens if message.HasField("input_tokens") else None,
        output_tokens=message.output_tokens if message.HasField("output_tokens") else None,
        concurrency=message.concurrency if message.HasField("concurrency") else None,
        request_rate=message.request_rate if message.HasField("request_rate") else None,
    )
