"""Failpoints fail where and when they are told to, and nowhere else."""

import pytest

from services.ingest.failpoints import PLACES, FailpointError, Failpoints
from services.ingest.settings import IngestSettings


def test_none_is_set_unless_asked_for() -> None:
    points = Failpoints()
    for place in PLACES:
        points.hit(place)


def test_a_point_fails_once_at_its_turn() -> None:
    points = Failpoints("after_rows=error@3, before_tx=error")
    points.hit("after_rows")
    points.hit("after_rows")
    with pytest.raises(FailpointError):
        points.hit("after_rows")
    points.hit("after_rows")
    with pytest.raises(FailpointError):
        points.hit("before_tx")


@pytest.mark.parametrize("text", ["after_row=crash", "after_rows=explode", "after_rows", "x@1"])
def test_unknown_text_is_refused_as_a_setting(text: str) -> None:
    with pytest.raises(ValueError, match="failpoints"):
        IngestSettings(
            database_url="postgresql://nobody@127.0.0.1/nothing",  # type: ignore[arg-type]
            failpoints=text,
        )
