"""The rider score, 0 to 100, told part by part: who should be asked first, and why."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

# Source: wire contract, business rules; every number of this file but the rounding.
DISTANCE_POINTS = 40.0
POINTS_PER_KM = 8.0
COMPLETION_POINTS = 25.0
RATING_POINTS = 25.0
LOAD_POINTS = 10.0
POINTS_PER_DELIVERY = 5.0
COMPLETION_UNKNOWN = 95.0
RATING_UNKNOWN = 4.5
COMPLETION_MAX = 100.0
RATING_MAX = 5.0
# Scores that a reader sees as equal are equal, so that fairness may decide between them.
DECIMALS = 2

Floats = NDArray[np.float64]


class Candidate(Protocol):
    """What the score must know of a rider; None is unknown."""

    @property
    def rider_id(self) -> str:
        """Who he is; the last tie-break."""
        ...

    @property
    def distance_km(self) -> float:
        """From him to the pickup, as the crow flies."""
        ...

    @property
    def completion(self) -> float | None:
        """Percent of his accepted deliveries that he completed."""
        ...

    @property
    def rating(self) -> float | None:
        """His customers' stars, out of five."""
        ...

    @property
    def active(self) -> int:
        """Deliveries he carries now."""
        ...

    @property
    def recent_offers(self) -> int:
        """How often he was asked of late; the first tie-break."""
        ...


class Facts(NamedTuple):
    """Riders as columns; NaN is unknown.

    Shapes: each (n,). Units: kilometres, percent, stars of five, deliveries.
    """

    distance_km: Floats
    completion: Floats
    rating: Floats
    active: Floats


class Parts(NamedTuple):
    """What the score is made of; they add up to it. Units: points."""

    distance: float
    completion: float
    rating: float
    load: float


class Ranked(NamedTuple):
    """A rider in his place: which of the candidates, how many points, and what they are for."""

    row: int
    score: float
    parts: Parts


def facts_of(candidates: Sequence[Candidate]) -> Facts:
    """The candidates as columns."""
    return Facts(
        *(
            np.array(column, dtype=np.float64)
            for column in (
                [each.distance_km for each in candidates],
                [_or_nan(each.completion) for each in candidates],
                [_or_nan(each.rating) for each in candidates],
                [each.active for each in candidates],
            )
        )
    )


def parts(facts: Facts) -> Floats:
    """Each rider's points by what they are for. Shapes: (n,) columns in, (n, 4) out, as `Parts`."""
    completion = np.clip(_known(facts.completion, COMPLETION_UNKNOWN), 0.0, COMPLETION_MAX)
    rating = np.clip(_known(facts.rating, RATING_UNKNOWN), 0.0, RATING_MAX)
    return np.column_stack(
        (
            np.maximum(0.0, DISTANCE_POINTS - POINTS_PER_KM * facts.distance_km),
            COMPLETION_POINTS * completion / COMPLETION_MAX,
            RATING_POINTS * rating / RATING_MAX,
            -np.minimum(LOAD_POINTS, POINTS_PER_DELIVERY * _known(facts.active, 0.0)),
        )
    )


def score(facts: Facts) -> Floats:
    """Each rider's points, at most 90. Shapes: (n,) columns in, (n,) out.

    Source: wire contract, `max(0, 40 - 8 km) + 25 compl./100 + 25 rating/5 - min(10, 5 active)`.
    """
    return parts(facts).sum(axis=1)


def rank(candidates: Sequence[Candidate]) -> list[Ranked]:
    """The candidates, best first; ties go to the rider asked least of late, then by id."""
    table = np.round(parts(facts_of(candidates)), DECIMALS)
    ranked = [
        Ranked(row, round(sum(points), DECIMALS), Parts(*points))
        for row, points in enumerate(table.tolist())
    ]
    return sorted(ranked, key=lambda each: _place(each, candidates[each.row]))


def _place(ranked: Ranked, candidate: Candidate) -> tuple[float, int, str]:
    return (-ranked.score, candidate.recent_offers, candidate.rider_id)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _known(column: Floats, unknown: float) -> Floats:
    return np.where(np.isnan(column), unknown, column)
