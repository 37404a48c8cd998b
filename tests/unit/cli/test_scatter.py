from hypothesis import given
from hypothesis import strategies as st

from servemark.cli.scatter import draw_scatter

FINITE = st.floats(-1e300, 1e300) | st.floats(1e-3, 1e9)
POINTS = st.lists(st.tuples(FINITE, FINITE), max_size=80)


def test_letters_follow_the_front_and_dots_lie_behind_it() -> None:
    front = [(1.0, 10.0), (10.5, 300.0), (20.0, 10_000.0)]
    scatter = draw_scatter(front, [(15.0, 200.0)], "USD/h >", "tokens/s ^")
    picture = "\n".join(scatter.lines)
    rows = [line[11:] for line in scatter.lines[1:17]]
    assert rows[15].startswith("A")
    assert rows[0].index("C") == 66
    assert rows[8].index("B") == 33
    assert "." in rows[8] + rows[9]
    assert scatter.lines[0] == "tokens/s ^, logarithmic"
    assert scatter.lines[-1].strip() == "USD/h >"
    assert "10,000 |" in picture
    assert scatter.hidden == {}


def test_an_axis_is_logarithmic_only_beyond_two_decades() -> None:
    for largest, is_log in ((100.0, False), (101.0, True)):
        lines = draw_scatter([(1.0, 1.0), (largest, 2.0)], [], "x", "y").lines
        assert lines[-1].endswith("x, logarithmic" if is_log else " x")
        assert lines[0] == "y"
    assert draw_scatter([(0.0, 1.0), (1e6, 2.0)], [], "x", "y").lines[-1].endswith(" x")


def test_what_falls_on_one_cell_is_named() -> None:
    scatter = draw_scatter([(1.0, 1.0), (1.0001, 1.0), (2.0, 2.0)], [(1.0, 1.0)], "x", "y")
    assert scatter.hidden == {"B": "A"}
    assert "." not in "".join(line[10:] for line in scatter.lines[1:17])


def test_one_point_lies_in_the_middle() -> None:
    lines = draw_scatter([(3.0, 3.0)], [], "x", "y").lines
    (row,) = [line for line in lines if "A" in line]
    assert row.index("A") - 11 == 33


@given(front=POINTS, behind=POINTS)
def test_any_points_fit_in_eighty_columns_of_ascii(
    front: list[tuple[float, float]], behind: list[tuple[float, float]]
) -> None:
    if not front and not behind:
        return
    scatter = draw_scatter(front, behind, "x", "y")
    assert all(line.isascii() and len(line) <= 80 for line in scatter.lines)
    assert len(scatter.lines) == 20
    drawn = {mark for line in scatter.lines[1:17] for mark in line[11:]} - {" ", ".", "+"}
    assert len(drawn) + len(set(scatter.hidden) - {"+"}) == min(len(front), 52)
