"""What MLPerf Inference's logs, summaries and tables have in common."""

import re

# What MLPerf measures in tokens per second. Tables of round 5.1 call the unit of some of these
# samples or queries per second; the submission checker of the next one names it rightly.
_IN_TOKENS = re.compile(
    r"(?:gptj|llama2-70b|llama3\.1-(?:8b|405b)|mixtral-8x7b|deepseek-r1|gpt-oss)"
)
_INTERACTIVE = re.compile(r"(?:^|[/\\-])interactive(?:$|[/\\-])")

NOTE_UNIT = (
    "the document calls the unit {}; MLPerf measures this model in tokens per second, and so the"
    " figure was taken"
)
NOTE_ONE_FIGURE = "MLPerf publishes one figure for a run, and no percentiles"


def rates(model: str, unit: str, figure: float) -> tuple[dict[str, float], list[str]]:
    """The figure under the record's key for its unit, and notes; nothing for other units."""
    notes = [NOTE_ONE_FIGURE]
    unit = unit.strip()
    if unit in ("Samples/s", "Queries/s") and _IN_TOKENS.match(model.lower()):
        notes.append(NOTE_UNIT.format(unit))
        unit = "Tokens/s"
    if unit == "Tokens/s":
        return {"throughput_tokens_sec": figure}, notes
    if unit in ("Samples/s", "Queries/s"):
        return {"rps_sustained": figure}, notes
    return {}, notes


def workload(place: str, scenario: str) -> str:
    """The workload's name: the scenario; interactive where only the model or the folder says so."""
    name = scenario.strip().lower()
    if name == "server" and _INTERACTIVE.search(place.lower()):
        name = "interactive"
    return f"mlperf-{name}"
