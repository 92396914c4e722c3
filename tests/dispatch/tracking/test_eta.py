"""ETAs follow what is learned of the streets, and what a router answers."""

import pytest
from msgspec.structs import replace

from dispatch.ids import OrderId
from dispatch.model import DispatchState, Place, Position, RiderAssignment
from dispatch.tracking.eta import (
    ETA_SEND_EVERY_MS,
    ROUTE_REQUEST_EVERY_MS,
    SPEED_LOOKUP_EVERY_MS,
    EtaEstimator,
)
from dispatch.tracking.route_leg import RouteLeg
from dispatch.tracking.stores.geo_cells import cell_of
from matching.geo import DEGREE_M
from matching.speeds import LearnedSpeeds, hour_of
from tests.dispatch.tracking.node import DOUALA

NOW_MS = 1_763_000_000_000


def leg() -> RouteLeg:
    """A leg to a pickup far north of the usual place."""
    stop = Place(lat=DOUALA[0] + 20_000 / DEGREE_M, lng=DOUALA[1])
    return RouteLeg(
        RiderAssignment(
            order_id=OrderId("ord_1"), state=DispatchState("ASSIGNED"), pickup=stop, dropoff=stop
        )
    )


def position(north_m: float = 0.0, after_ms: int = 0) -> Position:
    """A position this far north of the usual place, this long after the first."""
    at_ms = NOW_MS + after_ms
    return Position(lat=DOUALA[0] + north_m / DEGREE_M, lng=DOUALA[1], ts=at_ms, received_at=at_ms)


def speed_key(at: Position) -> tuple[str, int, str | None]:
    return (cell_of(at.lat, at.lng), hour_of(at.ts), None)


def learned_mps(step_m: float, every_ms: int) -> float:
    """The learned speed after 100 fixes at this distance and interval."""
    speeds, driven = LearnedSpeeds(), leg()
    estimator = EtaEstimator(speeds)
    for step in range(100):
        at = position(step * step_m, step * every_ms)
        estimator.observe_speed(driven, at, None, away_m=5_000)
    return speeds.speed_mps(speed_key(position()))


def test_a_slow_street_is_learned():
    """After 1,000 s at 1.5 m/s the learned speed is below 0.7 of the default."""
    assert learned_mps(15, every_ms=10_000) < 0.7 * LearnedSpeeds().speed_mps(speed_key(position()))


@pytest.mark.parametrize("every_ms", [50, 61_000])
def test_short_and_interrupted_stretches_are_not_learned(every_ms: int):
    """A stretch below 10 s may be jitter, one above 60 s a pause in reception."""
    assert learned_mps(1, every_ms) == LearnedSpeeds().speed_mps(speed_key(position()))


def test_a_learned_speed_changes_the_eta_within_20_s():
    """A traffic jam that was learned since makes the next looked-up ETA longer."""
    speeds, driven = LearnedSpeeds(), leg()
    estimator, at = EtaEstimator(speeds), position()
    before_s = estimator.estimate_s(driven, at, None, 1_000)
    speeds.learn(speed_key(at), metres=1_000, seconds=1_000)
    soon = replace(at, received_at=at.received_at + SPEED_LOOKUP_EVERY_MS - 1)
    later = replace(at, received_at=at.received_at + SPEED_LOOKUP_EVERY_MS)
    assert estimator.estimate_s(driven, soon, None, 1_000) == before_s
    assert estimator.estimate_s(driven, later, None, 1_000) > 1.5 * before_s


def test_an_unchanged_eta_is_sent_again_after_15_s():
    """While the rider keeps its pace no ETA is sent before `ETA_SEND_EVERY_MS` has passed."""
    estimator, driven = EtaEstimator(LearnedSpeeds()), leg()
    first_s = estimator.estimate_if_changed(driven, position(), None, 2_000)
    assert first_s is not None
    speed_mps = 2_000 / first_s

    def eta_after(ms: int) -> float | None:
        away_m = 2_000 - speed_mps * ms / 1000
        return estimator.estimate_if_changed(driven, position(after_ms=ms), None, away_m)

    assert eta_after(ETA_SEND_EVERY_MS - 1) is None
    assert eta_after(ETA_SEND_EVERY_MS) == pytest.approx(first_s - 15, abs=0.1)


def test_a_changed_eta_is_sent_at_once():
    """An ETA that differs from the expected one by 10 s and a tenth is sent."""
    estimator, driven = EtaEstimator(LearnedSpeeds()), leg()
    first_s = estimator.estimate_if_changed(driven, position(), None, 2_000)
    assert first_s is not None
    later_s = estimator.estimate_if_changed(driven, position(after_ms=5_000), None, 3_000)
    assert later_s == pytest.approx(1.5 * first_s)


class FakeRouter:
    """A router that takes twice our estimate for every leg."""

    def __init__(self) -> None:
        self.estimates_s: list[float] = []

    def request_route(
        self, leg: RouteLeg, start: tuple[float, float], vehicle: str | None, estimate_s: float
    ) -> None:
        self.estimates_s.append(estimate_s)
        leg.router_ratio = 2.0


def test_a_router_is_asked_every_30_s_and_scales_the_eta():
    """Between two requests our estimate times the router's ratio is sent; it gets ours alone."""
    router, driven = FakeRouter(), leg()
    estimator = EtaEstimator(LearnedSpeeds(), router)
    own_s = estimator.estimate_if_changed(driven, position(), None, 2_000)
    assert own_s is not None
    scaled_s = estimator.estimate_if_changed(driven, position(after_ms=5_000), None, 2_000)
    assert scaled_s == pytest.approx(2 * own_s)
    assert router.estimates_s == [own_s]
    estimator.estimate_if_changed(driven, position(after_ms=ROUTE_REQUEST_EVERY_MS), None, 2_000)
    assert router.estimates_s == [own_s, pytest.approx(own_s)]
