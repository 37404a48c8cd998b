"""The answers beside a ranking: what explains it, and how sure it is.

Each is calculated only if it was asked for, and only for the alternatives that are listed as far as
it is about single ones.
"""

from dataclasses import dataclass

import numpy as np

from servemark.ranking.v1.candidate_pb2 import Notice
from servemark.type.v1.metric_pb2 import Metric
from services.ranking import chance, contributions, dominance, smaa, stability
from services.ranking.candidates import Candidates
from services.ranking.confidence import Confidence, confidence
from services.ranking.dominance import Dominance
from services.ranking.estimated import are_estimated
from services.ranking.matrix import Floats, Ints
from services.ranking.metrics import PLACE, info_of
from services.ranking.notices import Message
from services.ranking.recommend import LIKELY, Answer, Ranking
from services.ranking.replicas import Load, OperatingPoint, Plan, Rate, plan
from services.ranking.shortfall import Shortfall, shortfall
from services.ranking.smaa import Acceptability
from services.ranking.spread import QUANTILE, Spread, spread_of
from services.ranking.stability import Stability

_INVERSE = {
    Metric.METRIC_USD_PER_MILLION_TOKENS: Metric.METRIC_THROUGHPUT_TOKENS_SEC,
}


@dataclass(frozen=True, eq=False, slots=True)
class Answers:
    """What was asked for beside the ranking of r alternatives, of which s are listed; None: not.

    `dominance` has the listed ones that are behind the front; `contributions` and `confidence`'s
    scores those that are listed, in their order; `acceptability` all of the ranking.
    """

    shortfall: Shortfall | None = None
    dominance: Dominance | None = None
    contributions: Floats | None = None  # [s, m]
    stability: Stability | None = None
    acceptability: Acceptability | None = None
    confidence: Confidence | None = None
    replicas: tuple[Plan, ...] = ()  # [s]
    notices: tuple[Message, ...] = ()


def answers_of(answer: Answer) -> Answers:
    """The answers that the request of `answer` asks for."""
    ranking, options = answer.ranking, answer.request.options
    if ranking is None:
        return Answers(shortfall=shortfall(answer) if options.infeasible else None)
    sure = _confidence(answer, ranking) if options.confidence else None
    return Answers(
        dominance=_dominance(ranking) if options.dominance else None,
        contributions=_contributions(ranking) if options.contributions else None,
        stability=_stability(ranking) if options.stability else None,
        acceptability=_acceptability(answer, ranking) if options.acceptability else None,
        confidence=sure if sure is not None and sure.samples else None,
        replicas=_replicas(answer, ranking.who[ranking.shown]),
        notices=() if sure is None else tuple(_unknown_spreads(ranking, sure)),
    )


def _dominance(ranking: Ranking) -> Dominance:
    return dominance.dominated_by(
        ranking.values, ranking.maximize, ranking.pareto_rank, ranking.shown
    )


def _contributions(ranking: Ranking) -> Floats:
    return contributions.of_score(*ranking.result.parts_of(ranking.shown))


def _stability(ranking: Ranking) -> Stability:
    result = ranking.result
    return stability.intervals(result.distances, result.weights, ranking.best[:LIKELY])


def _acceptability(answer: Answer, ranking: Ranking) -> Acceptability:
    options = answer.request.options
    return smaa.acceptability(
        ranking.values,
        ranking.result.weights,
        ranking.maximize,
        seed=_seed("acceptability", answer),
        normalization=answer.request.normalization,
        bounds=ranking.bounds,
        kappa=options.acceptability_concentration,
        samples=options.acceptability_samples,
    )


def _confidence(answer: Answer, ranking: Ranking) -> Confidence:
    spread = spread_in(answer, ranking)
    criteria = list(ranking.criteria)
    inverse = {
        criteria.index(price): criteria.index(speed)
        for price, speed in _INVERSE.items()
        if price in criteria and speed in criteria
    }
    # An accuracy is at most 1; nothing else has an upper end.
    is_share = [metric == Metric.METRIC_ACCURACY_SCORE for metric in criteria]
    # Where nothing at all is known of what may be off, certainty would be made up.
    known = np.any(spread.error > 0)
    return confidence(
        ranking.values,
        spread,
        ranking.result.weights,
        ranking.maximize,
        seed=_seed("confidence", answer),
        normalization=answer.request.normalization,
        bounds=ranking.bounds,
        ceiling=np.where(is_share, 1.0, np.inf),
        inverse_of=inverse,
        hold_unknown=bool(known),
        samples=answer.request.options.confidence_samples,
        chosen=ranking.shown,
    )


def spread_in(answer: Answer, ranking: Ranking) -> Spread:
    """How far the ranking's cells may be off; what is typical is asked of all candidates."""
    candidates = answer.candidates
    columns = [PLACE[metric] for metric in ranking.criteria]
    value, low, high, runs = candidates.columns(columns)
    # The error of an estimate is known as the ends of an interval, and is no range of runs: it says
    # nothing of how far those of others differ.
    estimated = are_estimated(candidates)[:, None]
    # It is a factor, unless it reaches down to 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        width = np.where(low > 0, value * np.log(high / low), high - low)
    spread = spread_of(
        value,
        low,
        high,
        np.where(estimated, np.minimum(runs, 1), runs),
        deviation=np.where(estimated, width / (2 * QUANTILE), np.nan),
    )
    return spread.take(ranking.who, np.arange(len(columns)))


def _unknown_spreads(ranking: Ranking, sure: Confidence) -> list[Message]:
    """A notice for each criterion of which nobody knows how far runs differ."""
    found = []
    for column in np.flatnonzero(sure.unknown).tolist():
        metric = ranking.criteria[column]
        says = (
            "its figures count as exact in the confidence"
            if sure.samples
            else "the answer cannot say how sure it is"
        )
        text = f"Nobody has several runs with {info_of(metric).label}, so {says}."
        found.append(Message(Notice.KIND_SPREAD_UNKNOWN, text, metric))
    return found


def _replicas(answer: Answer, who: Ints) -> tuple[Plan, ...]:
    """The instances of each of these candidates for the target; none without one."""
    target = answer.request.target
    if target is None:
        return ()
    load = Load(requests=target.requests_per_second)
    return tuple(
        plan(_operating_point(answer.candidates, index), load, headroom=target.headroom)
        for index in who.tolist()
    )


def _operating_point(candidates: Candidates, index: int) -> OperatingPoint:
    usd = float(candidates.usd_per_hour[index])
    return OperatingPoint(
        requests=_rate(candidates, index, Metric.METRIC_RPS_SUSTAINED),
        tokens=_rate(candidates, index, Metric.METRIC_THROUGHPUT_TOKENS_SEC),
        output_tokens=candidates.row(index).output_tokens,
        usd_per_hour=None if np.isnan(usd) else usd,
    )


def _rate(candidates: Candidates, index: int, metric: int) -> Rate | None:
    place = PLACE[metric]
    median, worst = candidates.value_of(index, place), candidates.span_of(index, place)[0]
    return None if np.isnan(median) else Rate(median, worst)


def _seed(purpose: str, answer: Answer) -> int:
    """The seed of a request's draws: what is asked beside the ranking has no say in it."""
    request = answer.request
    asked = (
        request.use_case and request.use_case.id,
        answer.weights,
        answer.limits,
        request.max_usd_per_hour,
        request.filter,
        request.price_basis,
        request.normalization.value,
        request.accept_uncertain,
        request.operating_point,
    )
    return chance.seed_of(purpose, repr(asked).encode(), answer.matrix.version)
