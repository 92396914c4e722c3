"""Error of arrival estimates on real drives, beside estimates that learn nothing.

`python -m bench.eta --traces DIR [--seed N] [--drives N]`. No server runs: the estimates are made
by the product's code, along the drives of GOAL. Those traces have no place and no hour of the day:
what a district's or an hour's own speed adds is not measured.
"""

import argparse
import math
import random
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median, quantiles
from typing import Any, NamedTuple

from bench.common.result_line import print_result
from bench.common.traces import TracePoint, read_traces
from dispatch.ids import OrderId
from dispatch.model import DispatchState, Place, Position, RiderAssignment
from dispatch.tracking.eta import EtaEstimator
from dispatch.tracking.route_leg import DEPARTURE_RADIUS_M, SLOW_MAX_MPS, RouteLeg
from matching.eta import SPEED_MPS, travel_seconds
from matching.geo import DEGREE_M
from matching.speeds import PRIOR_S, LearnedSpeeds

SEED = 1
# Shorter drives only move a van to the next gate.
DRIVE_M_MIN = 300.0
# The agents of these traces drive vans.
VEHICLE = "CAR"
# Where the drives are placed: 5 by 5 cells of 6 km, as in `matching.speeds`.
LAT, LNG, CELL_DEGREES, CELLS = 4.05, 9.7, 0.054, 5
BEGIN_MS, HOUR_MS, HOURS = 1_763_000_000_000 // 86_400_000 * 86_400_000, 3_600_000, 24
PRIORS_S = (150.0, PRIOR_S, 600.0, 1_200.0)

Drive = Sequence[TracePoint]


class Estimate(NamedTuple):
    """One moment of a drive: the true remaining time, and three estimates. Units: seconds."""

    truth_s: float
    learned_s: float
    default_s: float
    straight_s: float


class DriveStart(NamedTuple):
    """Where and when a drive is placed. Units: degrees, Unix milliseconds."""

    lat: float
    lng: float
    at_ms: int


def drives_of(trace: Sequence[TracePoint]) -> Iterator[Drive]:
    """The parts of a trace that were driven without a walk between, of DRIVE_M_MIN or more."""
    begin = 0
    for at in range(len(trace) + 1):
        if at < len(trace) and trace[at].is_driving:
            continue
        drive = trace[begin:at]
        begin = at + 1
        if drive and _distance_m(drive[0], drive[-1]) >= DRIVE_M_MIN:
            yield drive


def _distance_m(a: TracePoint, b: TracePoint) -> float:
    return math.hypot(a.x_m - b.x_m, a.y_m - b.y_m)


def estimate_along(drive: Drive, start: DriveStart, estimator: EtaEstimator) -> Iterator[Estimate]:
    """Estimates along a drive to its end, at every fix outside of DEPARTURE_RADIUS_M."""
    fixes = [_shifted_fix(step, drive[0], start) for step in drive]
    place = Place(lat=fixes[-1].lat, lng=fixes[-1].lng)
    assignment = RiderAssignment(
        order_id=OrderId("ord"), state=DispatchState.ASSIGNED, pickup=place, dropoff=place
    )
    leg = RouteLeg(assignment)
    for fix in fixes:
        distance_m = leg.distance_m(fix)
        estimator.observe_speed(leg, fix, VEHICLE, distance_m)
        if distance_m > DEPARTURE_RADIUS_M:
            yield Estimate(
                truth_s=(fixes[-1].ts - fix.ts) / 1000,
                learned_s=estimator.estimate_s(leg, fix, VEHICLE, distance_m),
                default_s=travel_seconds(distance_m, SPEED_MPS[VEHICLE]),
                straight_s=distance_m / SPEED_MPS[VEHICLE],
            )


def _shifted_fix(step: TracePoint, first: TracePoint, start: DriveStart) -> Position:
    east_m = DEGREE_M * math.cos(math.radians(start.lat))
    ts = start.at_ms + round((step.at_s - first.at_s) * 1000)
    return Position(
        lat=start.lat + (step.y_m - first.y_m) / DEGREE_M,
        lng=start.lng + (step.x_m - first.x_m) / east_m,
        ts=ts,
        received_at=ts,
    )


def start_in_one_cell(_rng: random.Random) -> DriveStart:
    """All drives in one cell and one hour: much is learned soon."""
    return DriveStart(LAT, LNG, BEGIN_MS)


def start_anywhere(rng: random.Random) -> DriveStart:
    """Drives over 25 cells and 24 hours: little is learned of any of them."""
    lat = LAT + rng.randrange(CELLS) * CELL_DEGREES
    lng = LNG + rng.randrange(CELLS) * CELL_DEGREES
    return DriveStart(lat, lng, BEGIN_MS + rng.randrange(HOURS) * HOUR_MS)


def estimate_all(
    drives: Iterable[Drive], starts: Iterable[DriveStart], prior_s: float
) -> list[Estimate]:
    """Estimates of one drive after the other, each with what was learned from those before."""
    estimator = EtaEstimator(LearnedSpeeds(prior_s))
    return [
        estimate
        for drive, start in zip(drives, starts, strict=True)
        for estimate in estimate_along(drive, start, estimator)
    ]


def error_stats(estimated_s: Sequence[float], truth_s: Sequence[float]) -> dict[str, float]:
    """Absolute errors and bias. Units: seconds; a `bias_s` below 0 is too early on average.

    Shapes: both of the same length.
    """
    errors_s = [estimate - truth for estimate, truth in zip(estimated_s, truth_s, strict=True)]
    cuts = quantiles([abs(error) for error in errors_s], n=100)
    return {
        "p50_s": round(cuts[49], 1),
        "p90_s": round(cuts[89], 1),
        "p99_s": round(cuts[98], 1),
        "mean_s": round(fmean(abs(error) for error in errors_s), 1),
        "bias_s": round(fmean(errors_s), 1),
    }


def slow_shares(traces: Iterable[Sequence[TracePoint]]) -> dict[str, float]:
    """Shares of the steps on foot, and of those driven, that are no faster than SLOW_MAX_MPS."""
    counts = {False: [0, 0], True: [0, 0]}
    for trace in traces:
        for before, after in pairwise(trace):
            passed_s = after.at_s - before.at_s
            if before.is_driving is after.is_driving and passed_s > 0:
                counts[after.is_driving][0] += _distance_m(before, after) <= SLOW_MAX_MPS * passed_s
                counts[after.is_driving][1] += 1
    return {
        "on_foot": round(counts[False][0] / counts[False][1], 4),
        "driving": round(counts[True][0] / counts[True][1], 4),
    }


def measure(
    traces: Sequence[Sequence[TracePoint]], seed: int, drives_max: int | None
) -> dict[str, object]:
    """All figures of the result line."""
    rng = random.Random(seed)
    drives = [drive for trace in traces for drive in drives_of(trace)]
    rng.shuffle(drives)
    drives = drives[:drives_max]
    close, wide = [start_in_one_cell(rng) for _ in drives], [start_anywhere(rng) for _ in drives]
    found = {prior_s: estimate_all(drives, close, prior_s) for prior_s in PRIORS_S}
    spread = {prior_s: estimate_all(drives, wide, prior_s) for prior_s in PRIORS_S}
    estimates = found[PRIOR_S]
    truth_s = [each.truth_s for each in estimates]
    return {
        "drives": len(drives),
        "guesses": len(estimates),
        "truth_p50_s": round(median(truth_s), 1),
        "detour_p50": round(median(map(detour, drives)), 3),
        "ours": _learned_errors(estimates),
        "ours_scattered": _learned_errors(spread[PRIOR_S]),
        "default": error_stats([each.default_s for each in estimates], truth_s),
        "straight": error_stats([each.straight_s for each in estimates], truth_s),
        "mean_s_by_prior_s": _mean_error_by_prior(found),
        "scattered_mean_s_by_prior_s": _mean_error_by_prior(spread),
        "slow_steps": slow_shares(traces),
    }


def _learned_errors(found: Sequence[Estimate]) -> dict[str, float]:
    return error_stats([each.learned_s for each in found], [each.truth_s for each in found])


def _mean_error_by_prior(found: Mapping[float, Sequence[Estimate]]) -> dict[str, float]:
    return {f"{prior_s:.0f}": _learned_errors(some)["mean_s"] for prior_s, some in found.items()}


def detour(drive: Drive) -> float:
    """Length of a drive as a multiple of the straight line."""
    driven_m = sum(_distance_m(a, b) for a, b in pairwise(drive))
    return driven_m / _distance_m(drive[0], drive[-1])


def main() -> None:
    """Replay the drives and print the line; exit 1 where learning made estimates worse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="folder of GOAL's archive")
    parser.add_argument("--seed", type=int, default=SEED, help="the order of the drives")
    parser.add_argument("--drives", type=int, help="at most so many; all of them are the full size")
    given = parser.parse_args()
    figures = measure(list(read_traces(given.traces)), given.seed, given.drives)
    print_result("eta", {"seed": given.seed, "drive_m_min": DRIVE_M_MIN}, figures)
    sys.exit(int(not is_better(figures)))


def is_better(figures: Mapping[str, Any]) -> bool:
    """Whether learned estimates beat the default speed, with much and with little learned."""
    default_s = figures["default"]["mean_s"]
    return all(figures[ours]["mean_s"] <= default_s for ours in ("ours", "ours_scattered"))


if __name__ == "__main__":
    main()
