"""The canonical form of the facts: one digest for the same facts, another for others."""

from dataclasses import replace
from typing import Any

import pytest

from servemark.ranking.v1.candidate_pb2 import CellMethod
from services.ranking import content
from services.ranking.cells import Figure
from services.ranking.content import Content
from tests.unit.ranking_matrix.builders import (
    DAY_US,
    MADE_AT_US,
    THROUGHPUT,
    TTFT,
    config,
    identifier,
    price,
    use_case,
)

MERGED = Figure(
    2.0, 1.0, 3.0, 3, CellMethod.CELL_METHOD_MERGED_SKETCHES, 900, 5, (2.0 / 1.01, 2.0 / 0.99)
)
ROWS = [
    config(1, ttft_p50_ms=(0.1, 0.2, 0.30000000000000004), request_rate=2.5),
    config(2, throughput_tokens_sec=1e22, input_tokens=None, model="Ünïcode/模型"),
    config(3, ttft_p50_ms=MERGED),
]
PRICES = [
    price(1.0 / 3.0, valid_from_us=MADE_AT_US - DAY_US, valid_to_us=MADE_AT_US + DAY_US),
    price(2.0),
    price(2.0, hardware_config_id=identifier(2001)),
]
USE_CASES = [
    use_case("b", 1, limits=((TTFT, 1e-7),)),
    use_case("a", 2, weights=((THROUGHPUT, 2.0),), input_tokens=(1, 0)),
]


def digest(found: Content) -> bytes:
    return content.digest_of(content.entries(found), found.price_boundary_us)


def facts(**given: Any) -> Content:
    return content.content_of(
        given.get("rows", ROWS),
        given.get("prices", PRICES),
        given.get("use_cases", USE_CASES),
        given.get("now_us", MADE_AT_US),
    )


def test_the_order_in_which_facts_are_read_does_not_matter() -> None:
    turned = facts(rows=ROWS[::-1], prices=PRICES[::-1], use_cases=USE_CASES[::-1])
    assert turned == facts()
    assert digest(turned) == digest(facts())
    assert [e.json for e in content.entries(turned)] == [e.json for e in content.entries(facts())]


@pytest.mark.parametrize(
    "given",
    [
        {"rows": ROWS[:1]},
        {"rows": [replace(ROWS[0], run_count=4), *ROWS[1:]]},
        {"rows": [replace(ROWS[0], tools=("vllm-bench", "guidellm")), *ROWS[1:]]},
        {"rows": [config(1, ttft_p50_ms=(0.1, 0.2, 0.3), request_rate=2.5), *ROWS[1:]]},
        {"rows": [replace(ROWS[0], parallelism=(2, 1, 1, 1)), *ROWS[1:]]},
        {"rows": [*ROWS[:2], config(3, ttft_p50_ms=MERGED._replace(requests=901))]},
        {"rows": [*ROWS[:2], config(3, ttft_p50_ms=MERGED._replace(newest_us=6))]},
        {"rows": [*ROWS[:2], config(3, ttft_p50_ms=MERGED._replace(span=None))]},
        {"prices": PRICES[1:]},
        {"prices": [replace(PRICES[0], valid_to_us=None), *PRICES[1:]]},
        {"use_cases": [replace(USE_CASES[0], name="c"), USE_CASES[1]]},
    ],
)
def test_any_other_fact_gives_another_digest(given: dict[str, Any]) -> None:
    assert digest(facts(**given)) != digest(facts())


def test_time_alone_changes_nothing_until_a_price_begins_or_ends() -> None:
    assert digest(facts(now_us=MADE_AT_US + DAY_US - 1)) == digest(facts())
    later = facts(now_us=MADE_AT_US + DAY_US)
    assert digest(later) != digest(facts())
    assert later.price_boundary_us == MADE_AT_US + DAY_US


def test_stored_facts_come_back_bit_for_bit() -> None:
    found = facts()
    entries = content.entries(found)
    back = content.content_from(
        [(entry.kind, entry.json.decode()) for entry in reversed(entries)], found.price_boundary_us
    )
    assert back == found
    assert digest(back) == digest(found)


def test_facts_of_other_code_are_refused() -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        content.content_from([(content.ROW, '{"config_id": "x"}')], None)
