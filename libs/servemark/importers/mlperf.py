"""What MLPerf Inference's logs, summaries and tables have in common."""

import re

# MLPerf's submission checker takes the tokens per second of these (RESULT_FIELD_BENCHMARK_OVERWRITE
# of rounds 5.1 and 6.0), but its table of units lacks them, so published tables call their tokens
# samples or queries: 30493.3 "Samples/s" of deepseek-r1 on eight GPUs.
_IN_TOKENS = re.compile(r"deepseek-r1|llama3\.1-8b|gpt-oss|whisper")
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
