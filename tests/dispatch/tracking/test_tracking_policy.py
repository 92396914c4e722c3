"""A rider's fixes say how often he shall report, when he has arrived, and when he will be there."""

import msgspec
import orjson
import pytest

from dispatch.ids import OrderId
from dispatch.model import DispatchState, Place, RiderAssignment
from dispatch.tracking.eta import EtaEstimator
from dispatch.tracking.reporting_interval import (
    CLOSE,
    IDLE,
    ON_JOB,
    ReportingInterval,
    busy_interval,
)
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.tracking_policy import Arrival
from matching.speeds import hour_of
from tests.dispatch.tracking.node import DEGREE_M, DOUALA, FakeChannels, Node, fix

PICKUP_M, DROPOFF_M = 2_000.0, 5_000.0


def place(north_m: float) -> Place:
    return Place(lat=DOUALA[0] + north_m / DEGREE_M, lng=DOUALA[1])


def assignment(state: str = "ASSIGNED", order_id: str = "ord_1") -> RiderAssignment:
    """An order to be fetched 2 km and brought 5 km north of the usual place."""
    return RiderAssignment(
        order_id=OrderId(order_id),
        state=DispatchState(state),
        pickup=place(PICKUP_M),
        dropoff=place(DROPOFF_M),
    )


class EtaWatcher:
    """A watcher who keeps the estimates only."""

    def __init__(self) -> None:
        self.updates: list[dict[str, object]] = []

    def send_position(self, packet: bytes) -> None:
        name, body = orjson.loads(packet.partition(b",")[2])
        self.updates += [body] * (name == "eta_update")


class RoadNode(Node):
    """A node with one rider on his way, and what it tells his app and the order's steps."""

    def __init__(self, channels: FakeChannels | None = None) -> None:
        super().__init__("a", channels)
        self.arrivals: list[Arrival] = []
        self.policies: list[tuple[int, int]] = []
        self.tracking_rules.on_arrival(self.arrivals.append)
        self.tracking_rules.on_policy(self._record_policy)
        self.put_on_duty("rdr_1", "ord_1")
        self.rider_registry.set_assignment("rdr_1", assignment())

    def _record_policy(self, rider_id: str, packet: bytes) -> None:
        assert rider_id == "rdr_1"
        name, body = orjson.loads(packet.partition(b",")[2])
        assert name == "tracking_policy"
        self.policies.append((body["intervalMs"], body["minDisplacementM"]))

    def drive(self, *norths_m: float, every_ms: int = 4_000, **fields: float) -> None:
        """Fixes so many metres north, one after the other."""
        for north_m in norths_m:
            self.clock.advance(every_ms)
            assert self.report("rdr_1", fix(north_m, ts=self.clock.now_ms(), **fields)) is None


@pytest.mark.parametrize(
    ("away_m", "before", "is_watched", "cadence"),
    [
        (5_000, None, False, ON_JOB),
        (5_000, None, True, CLOSE),
        (500, ON_JOB, False, CLOSE),
        (501, ON_JOB, False, ON_JOB),
        (600, CLOSE, False, CLOSE),
        (601, CLOSE, False, ON_JOB),
    ],
)
def test_the_reporting_interval_of_a_busy_rider(
    away_m: float, before: ReportingInterval | None, is_watched: bool, cadence: ReportingInterval
):
    """Near his place or watched a rider reports often; along the edge of near he keeps his pace."""
    assert busy_interval(away_m, before, is_watched=is_watched) is cadence


def test_the_reporting_intervals():
    """Idle 15 s and 50 m, on a job 4 s and 15 m, close or watched 2 s and 8 m."""
    policies = [each.policy for each in (IDLE, ON_JOB, CLOSE)]
    said = [(each.interval_ms, each.min_displacement_m) for each in policies]
    assert said == [(15_000, 50), (4_000, 15), (2_000, 8)]


async def test_an_app_is_sent_a_changed_reporting_interval():
    """On connect, when the order is near or watched, and when it is over; never twice the same."""
    road = RoadNode()
    road.fix_pipeline.send_tracking_policy("rdr_1")
    road.drive(0, 50, 100)
    assert road.policies == [(4_000, 15)]
    await road.watchers.join("ord_1", EtaWatcher())
    road.drive(150, 200)
    assert road.policies[1:] == [(2_000, 8)]
    road.rider_registry.release("rdr_1", "ord_1")
    road.drive(250, 300)
    assert road.policies[2:] == [(15_000, 50)]


async def test_a_watched_rider_gets_the_close_interval_on_connect():
    """And not with its first fix once more."""
    road = RoadNode()
    await road.watchers.join("ord_1", EtaWatcher())
    road.fix_pipeline.send_tracking_policy("rdr_1")
    road.drive(0, 50)
    assert road.policies == [(2_000, 8)]


async def test_a_watcher_on_another_node_shortens_the_interval():
    """A rider who is watched from another node reports as often as one who is watched here."""
    hub = FakeChannels()
    road, there = RoadNode(hub), Node("b", hub)
    road.drive(0)
    await there.watchers.join("ord_1", EtaWatcher())
    await road.writer.flush()
    road.drive(30)
    assert road.policies[-1] == (2_000, 8)
    await there.watchers.leave_all(EtaWatcher())


def test_two_slow_fixes_are_an_arrival_once():
    """Who stands at the pickup has arrived with his second fix there, and not again with others."""
    road = RoadNode()
    road.drive(1_800, 1_990, 1_995, 2_000, 2_005, speed=0.5)
    assert road.arrivals == [Arrival("ord_1", "rdr_1", "pickup")]


def test_fixes_in_a_burst_are_an_arrival_too():
    """An app that says four fixes at once, as after a bad connection, is looked at for each."""
    road = RoadNode()
    road.drive(1_920, 1_980, 1_990, 1_990, every_ms=5, speed=1.0)
    assert road.arrivals == [Arrival("ord_1", "rdr_1", "pickup")]


def test_who_drives_past_has_not_arrived():
    """Fixes at the door at the speed of traffic are no arrival, whether said or seen."""
    road = RoadNode()
    road.drive(1_970, 1_985, 2_000, 2_015, 2_030, every_ms=2_000, speed=7.5)
    assert road.arrivals == []
    silent = RoadNode()
    silent.drive(1_900, 1_965, 2_030, 2_095, every_ms=8_000)
    assert silent.arrivals == []


def test_five_seconds_count_as_much_as_a_second_fix():
    """One fix within 40 m and, five seconds on, another still within 60 m are an arrival."""
    road = RoadNode()
    road.drive(1_970, 1_955, every_ms=4_000, speed=1.0)
    assert road.arrivals == []
    road.drive(1_950, every_ms=4_000, speed=1.0)
    assert road.arrivals == [Arrival("ord_1", "rdr_1", "pickup")]


def test_who_leaves_begins_anew():
    """A fix beyond 60 m takes back what the one before it began to show."""
    road = RoadNode()
    road.drive(1_990, 1_930, 1_990, speed=1.0, every_ms=30_000)
    assert road.arrivals == []


def test_after_the_pickup_the_door_is_what_counts():
    """A rider who has the goods arrives at the customer's, and no more at the shop."""
    road = RoadNode()
    road.rider_registry.set_assignment("rdr_1", assignment("PICKED_UP"))
    road.drive(2_000, 2_000, speed=0.1)
    road.drive(4_990, 4_995, every_ms=600_000, speed=0.1)
    assert road.arrivals == [Arrival("ord_1", "rdr_1", "dropoff")]


def test_a_confirmed_arrival_is_not_detected_again():
    """After his tap his positions have nothing to add; a course of others' orders is not his."""
    road = RoadNode()
    road.rider_registry.set_assignment("rdr_1", assignment("AT_PICKUP"))
    road.rider_registry.set_assignment("rdr_1", assignment("ASSIGNED", "ord_of_others"))
    road.drive(2_000, 2_000, 2_000, speed=0.0)
    assert road.arrivals == []


async def test_watchers_get_eta_updates():
    """An estimate comes with the first fix, then when it changes or a while has passed."""
    road, screen = RoadNode(), EtaWatcher()
    await road.watchers.join("ord_1", screen)
    road.drive(*(step * 7.3 / 1.4 * 4 for step in range(10)), every_ms=4_000)
    seconds = [int(str(each["etaSeconds"])) for each in screen.updates]
    assert {(each["orderId"], each["to"]) for each in screen.updates} == {("ord_1", "pickup")}
    assert seconds[0] == round(2_000 * 1.4 / 7.3)
    assert seconds == sorted(seconds, reverse=True)
    assert 2 <= len(seconds) <= 4


async def test_etas_are_sent_only_while_watched():
    """Estimates cross to another node only while somebody watches there."""
    hub, screen = FakeChannels(), EtaWatcher()
    road, there = RoadNode(hub), Node("b", hub)
    road.drive(0)
    await road.writer.flush()
    await there.watchers.join("ord_1", screen)
    road.drive(20)
    await road.writer.flush()
    assert screen.updates == []
    road.drive(40)
    await road.writer.flush()
    assert len(screen.updates) == 1


def test_a_slow_street_is_learned():
    """After half an hour of crawling, what one drives there is slower than what nobody knows."""
    road, fresh = RoadNode(), RoadNode()
    road.drive(*(step * 15 for step in range(100)), every_ms=10_000)
    [seat] = road.rider_registry
    assert seat.position is not None
    key = (cell_of(seat.position.lat, seat.position.lng), hour_of(seat.position.ts), None)
    assert road.speeds.speed_mps(key) < 0.7 * fresh.speeds.speed_mps(key)


def test_what_others_learn_of_the_streets_shows_within_half_a_minute():
    """A jam that their riders are in makes the way longer for one who has not reached it."""
    road = RoadNode()
    road.drive(0)
    [seat] = road.rider_registry
    [leg], position, forecast = seat.legs, seat.position, EtaEstimator(road.speeds)
    assert position is not None
    before_s = forecast.estimate_s(leg, position, None, 1_000)
    key = (cell_of(position.lat, position.lng), hour_of(position.ts), None)
    road.speeds.learn(key, metres=1_000, seconds=1_000)
    later = msgspec.structs.replace(position, received_at=position.received_at + 30_000)
    assert forecast.estimate_s(leg, later, None, 1_000) > 1.5 * before_s
