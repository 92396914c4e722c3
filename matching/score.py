"""The rider score, 0 to 100, with its parts: which rider is asked first, and why."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from matching.problem import Floats

# Source: docs/contract.md, business rules; every number of this file but the rounding.
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
# Scores that look equal to a reader are equal, so that fairness decides between them.
DECIMALS = 2


class Candidate(Protocol):
    """What the score needs of a rider; None is unknown."""

    @property
    def rider_id(self) -> str:
        """The rider's id; the last tie-break."""
        ...

    @property
    def distance_km(self) -> float:
        """Straight-line distance from the rider to the pickup."""
        ...

    @property
    def completion(self) -> float | None:
        """Percent of accepted deliveries that were completed."""
        ...

    @property
    def rating(self) -> float | None:
        """Average rating by customers, out of five stars."""
        ...

    @property
    def active(self) -> int:
        """Deliveries that the rider carries now."""
        ...

    @property
    def recent_offers(self) -> int:
        """Offers that the rider got lately; the first tie-break."""
        ...


class ScoreInputs(NamedTuple):
    """Riders as columns; NaN is unknown.

    Shapes: each (n,). Units: kilometres, percent, stars of five, deliveries.
    """

    distance_km: Floats
    completion: Floats
    rating: Floats
    active: Floats


class ScoreParts(NamedTuple):
    """The parts of a score; they add up to it. Units: points."""

    distance: float
    completion: float
    rating: float
    load: float


class RankedCandidate(NamedTuple):
    """One candidate of a ranking: its row among the candidates, its score and the parts."""

    row: int
    score: float
    parts: ScoreParts


def score_inputs(candidates: Sequence[Candidate]) -> ScoreInputs:
    """The candidates as columns, in their order. Shapes: each (n,), n candidates."""
    return ScoreInputs(
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


def score_parts(inputs: ScoreInputs) -> Floats:
    """Each rider's points by part.

    Shapes: (n,) columns in, (n, 4) out, in the order of `ScoreParts`. Units: points.
    """
    completion = np.clip(_fill_unknown(inputs.completion, COMPLETION_UNKNOWN), 0.0, COMPLETION_MAX)
    rating = np.clip(_fill_unknown(inputs.rating, RATING_UNKNOWN), 0.0, RATING_MAX)
    return np.column_stack(
        (
            np.maximum(0.0, DISTANCE_POINTS - POINTS_PER_KM * inputs.distance_km),
            COMPLETION_POINTS * completion / COMPLETION_MAX,
            RATING_POINTS * rating / RATING_MAX,
            -np.minimum(LOAD_POINTS, POINTS_PER_DELIVERY * _fill_unknown(inputs.active, 0.0)),
        )
    )


def score(inputs: ScoreInputs) -> Floats:
    """Each rider's score, at most 90.

    Shapes: (n,) columns in, (n,) out. Units: points.
    Source: docs/contract.md, `max(0, 40 - 8 km) + 25 compl./100 + 25 rating/5 - min(10, 5 active)`.
    """
    return score_parts(inputs).sum(axis=1)


def rank(candidates: Sequence[Candidate]) -> list[RankedCandidate]:
    """The candidates, best first; ties go to the rider with the fewest recent offers, then by id.

    Units: points.
    """
    table = np.round(score_parts(score_inputs(candidates)), DECIMALS)
    rows: list[list[float]] = table.tolist()
    ranked = [
        RankedCandidate(row, round(sum(points), DECIMALS), ScoreParts(*points))
        for row, points in enumerate(rows)
    ]
    return sorted(ranked, key=lambda each: _rank_key(each, candidates[each.row]))


def _rank_key(ranked: RankedCandidate, candidate: Candidate) -> tuple[float, int, str]:
    return (-ranked.score, candidate.recent_offers, candidate.rider_id)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _fill_unknown(column: Floats, unknown: float) -> Floats:
    return np.where(np.isnan(column), unknown, column)
