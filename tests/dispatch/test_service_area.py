"""Service area: which places it contains, what is wrong with others, and its text form."""

import pytest

from dispatch.service_area import Circle, ServiceArea, is_null_island, parse_service_area

DOUALA = ServiceArea((Circle(4.0511, 9.7679, 50.0),))


@pytest.mark.parametrize(
    ("lat", "lng", "problem"),
    [
        (4.0511, 9.7679, None),
        (4.05, 9.7, None),
        (4.15, 9.85, None),
        # 49.9 km and 50.1 km north of the middle.
        (4.0511 + 49.9 / 111.195, 9.7679, None),
        (4.0511 + 50.1 / 111.195, 9.7679, "outside"),
        (48.8566, 2.3522, "outside"),
        (3.8480, 11.5021, "outside"),
        (-4.0511, 9.7679, "outside"),
        (9.7679, 4.0511, "swapped"),
        (9.7, 4.05, "swapped"),
        (0.0, 0.0, "null_island"),
        (-0.0005, 0.0005, "null_island"),
        (0.002, 0.0, "outside"),
        (4.05, 170.0, "outside"),
    ],
)
def test_a_place_outside_has_a_problem(lat: float, lng: float, problem: str | None):
    """A place in a circle is served; another is named as swapped, without position, or outside."""
    assert DOUALA.problem_of(lat, lng) == problem
    assert DOUALA.contains(lat, lng) is (problem is None)


def test_several_circles_are_one_area():
    """A place is served where any of the circles contains it."""
    both = parse_service_area("4.0511,9.7679,50; 3.8480,11.5021,30")
    assert both.circles == (Circle(4.0511, 9.7679, 50.0), Circle(3.848, 11.5021, 30.0))
    assert both.contains(4.05, 9.7)
    assert both.contains(3.85, 11.5)
    assert not both.contains(4.0, 10.6)


def test_without_circles_every_place_is_served():
    """`off` serves the whole globe, except the place that stands for no position."""
    everywhere = parse_service_area(" OFF ")
    assert everywhere == ServiceArea()
    assert everywhere.contains(48.8566, 2.3522)
    assert not everywhere.contains(0.0, 0.0)


@pytest.mark.parametrize(
    "text",
    ["4.05,9.7", "4.05,9.7,50,1", "91,9.7,50", "4.05,181,50", "4.05,9.7,0", "4.05,9.7,-1",
     "4.05,9.7,nan", "nan,9.7,50", "4.05,9.7,20100", "Douala", "4.05;9.7;50"],
)  # fmt: skip
def test_a_malformed_area_is_refused(text: str):
    """An area that is no list of circles on the globe raises ValueError."""
    with pytest.raises(ValueError, match=r"is not lat,lng,km|is no circle|could not convert"):
        parse_service_area(text)


def test_the_position_for_none_is_small():
    """Only the 100 m around latitude 0, longitude 0 stand for no position."""
    assert is_null_island(0.0008, 0.0)
    assert not is_null_island(0.001, 0.0)
