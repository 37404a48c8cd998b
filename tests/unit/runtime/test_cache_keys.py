"""Keys are those of the requirements."""

import re

from servemark.runtime.cache.families import (
    BENCHMARK_RESULTS,
    FAMILIES,
    HARDWARE_LIST,
    MODEL_DETAILS,
    MODEL_METRICS,
    RECOMMENDATIONS,
    lock_key,
    version_key,
)


def test_the_keys_and_lifetimes_of_the_requirements() -> None:
    assert MODEL_DETAILS.key("m") == "servemark:model:m:details"
    assert HARDWARE_LIST.key() == "servemark:hardware:list:active"
    assert BENCHMARK_RESULTS.key("m", "h") == "servemark:benchmark:m:h:results"
    assert MODEL_METRICS.key("m") == "servemark:metrics:model:m:aggregated"
    assert RECOMMENDATIONS.key("u", "chatbot") == "servemark:rec:u:chatbot:recommendations"
    seconds = {family.name: family.lifetime for family in FAMILIES.values()}
    assert seconds == {
        "model_details": 3600,
        "hardware_list": 7200,
        "benchmark_results": 1800,
        "model_metrics": 600,
        "recommendations": 900,
    }


def test_another_question_has_another_key() -> None:
    plain, one, other = (HARDWARE_LIST.key(variant=variant) for variant in (b"", b"1", b"2"))
    assert len({plain, one, other}) == 3
    assert one.startswith(f"{plain}:")


def test_a_family_matches_its_own_keys_only() -> None:
    keys = {
        family.name: family.key(*["x"] * family.pattern.count("{}"), variant=b"v")
        for family in FAMILIES.values()
    }
    keys |= {"version": version_key("model:x:details"), "lock": lock_key(keys["model_details"])}
    for family in FAMILIES.values():
        pattern = re.compile(re.escape(family.glob).replace(r"\*", ".*"))
        assert [name for name, key in keys.items() if pattern.fullmatch(key)] == [family.name]
