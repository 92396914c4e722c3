"""A rider's fixes say how often he shall report, when he has arrived, and when he will be there."""

import msgspec
import orjson
import pytest

from dispatch.model import Course, DispatchState, Place
from dispatch.tracking.eta import Forecast
from dispatch.tracking.reporting_interval import (
    CLOSE,
    IDLE,
    ON_JOB,
    Cadence,
    busy_cadence,
)
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.tracking_policy import Arrival
from matching.speeds import hour_of
from tests.dispatch.tracking.node import DEGREE_M, DOUALA, Hub, Node, fix

PICKUP_M, DROPOFF_M = 2_000.0, 5_000.0


def place(north_m: float) -> Place:
    return Place(lat=DOUALA[0] + north_m / DEGREE_M, lng=DOUALA[1])


def course(state: str = "ASSIGNED", order_id: str = "ord_1") -> Course:
    """An order to be fetched 2 km and brought 5 km north of the usual place."""
    return Course(
        order_id=order_id,
        state=DispatchState(state),
        pickup=place(PICKUP_M),
        dropoff=place(DROPOFF_M),
    )


class Etas:
    """A watcher who keeps the estimates only."""

    def __init__(self) -> None:
        self.told: list[dict[str, object]] = []

    def show(self, packet: bytes) -> None:
        name, body = orjson.loads(packet.partition(b",")[2])
        self.told += [body] * (name == "eta_update")


class Road(Node):
    """A node with one rider on his way, and what it tells his app and the order's steps."""

    def __init__(self, hub: Hub | None = None) -> None:
        super().__init__("a", hub)
        self.arrivals: list[Arrival] = []
        self.advice: list[tuple[int, int]] = []
        self.guide.on_arrival(self.arrivals.append)
        self.guide.on_policy(self._hear)
        self.on_duty("rdr_1", "ord_1")
        self.roster.steer("rdr_1", course())

    def _hear(self, rider_id: str, packet: bytes) -> None:
        assert rider_id == "rdr_1"
        name, body = orjson.loads(packet.partition(b",")[2])
        assert name == "tracking_policy"
        self.advice.append((body["intervalMs"], body["minDisplacementM"]))

    def drive(self, *norths_m: float, every_ms: int = 4_000, **said: float) -> None:
        """Fixes so many metres north, one after the other."""
        for north_m in norths_m:
            self.clock.advance(every_ms)
            assert self.report("rdr_1", fix(north_m, ts=self.clock.now_ms(), **said)) is None


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
def test_the_cadence_of_a_busy_rider(
    away_m: float, before: Cadence | None, is_watched: bool, cadence: Cadence
):
    """Near his place or watched a rider reports often; along the edge of near he keeps his pace."""
    assert busy_cadence(away_m, before, is_watched=is_watched) is cadence


def test_the_words_of_the_cadences():
    """Idle 15 s and 50 m, on a job 4 s and 15 m, close or watched 2 s and 8 m."""
    policies = [each.policy for each in (IDLE, ON_JOB, CLOSE)]
    said = [(each.interval_ms, each.min_displacement_m) for each in policies]
    assert said == [(15_000, 50), (4_000, 15), (2_000, 8)]


async def test_an_app_is_told_when_its_cadence_changes():
    """On connect, when the order is near or watched, and when it is over; never twice the same."""
    road = Road()
    road.lane.greet("rdr_1")
    road.drive(0, 50, 100)
    assert road.advice == [(4_000, 15)]
    await road.watchers.join("ord_1", Etas())
    road.drive(150, 200)
    assert road.advice[1:] == [(2_000, 8)]
    road.roster.release("rdr_1", "ord_1")
    road.drive(250, 300)
    assert road.advice[2:] == [(15_000, 50)]


async def test_an_app_that_connects_while_it_is_watched_is_told_so_at_once():
    """And not with its first fix once more."""
    road = Road()
    await road.watchers.join("ord_1", Etas())
    road.lane.greet("rdr_1")
    road.drive(0, 50)
    assert road.advice == [(2_000, 8)]


async def test_a_watcher_on_another_node_is_heard_of():
    """A rider who is watched from another node reports as often as one who is watched here."""
    hub = Hub()
    road, there = Road(hub), Node("b", hub)
    road.drive(0)
    await there.watchers.join("ord_1", Etas())
    await road.drain.flush()
    road.drive(30)
    assert road.advice[-1] == (2_000, 8)
    await there.watchers.leave_all(Etas())


def test_two_slow_fixes_are_an_arrival_once():
    """Who stands at the pickup has arrived with his second fix there, and not again with others."""
    road = Road()
    road.drive(1_800, 1_990, 1_995, 2_000, 2_005, speed=0.5)
    assert road.arrivals == [Arrival("ord_1", "rdr_1", "pickup")]


def test_fixes_in_a_burst_are_an_arrival_too():
    """An app that says four fixes at once, as after a bad connection, is looked at for each."""
    road = Road()
    road.drive(1_920, 1_980, 1_990, 1_990, every_ms=5, speed=1.0)
    assert road.arrivals == [Arrival("ord_1", "rdr_1", "pickup")]


def test_who_drives_past_has_not_arrived():
    """Fixes at the door at the speed of traffic are no arrival, whether said or seen."""
    road = Road()
    road.drive(1_970, 1_985, 2_000, 2_015, 2_030, every_ms=2_000, speed=7.5)
    assert road.arrivals == []
    silent = Road()
    silent.drive(1_900, 1_965, 2_030, 2_095, every_ms=8_000)
    assert silent.arrivals == []


def test_five_seconds_count_as_much_as_a_second_fix():
    """One fix within 40 m and, five seconds on, another still within 60 m are an arrival."""
    road = Road()
    road.drive(1_970, 1_955, every_ms=4_000, speed=1.0)
    assert road.arrivals == []
    road.drive(1_950, every_ms=4_000, speed=1.0)
    assert road.arrivals == [Arrival("ord_1", "rdr_1", "pickup")]


def test_who_leaves_begins_anew():
    """A fix beyond 60 m takes back what the one before it began to show."""
    road = Road()
    road.drive(1_990, 1_930, 1_990, speed=1.0, every_ms=30_000)
    assert road.arrivals == []


def test_after_the_pickup_the_door_is_what_counts():
    """A rider who has the goods arrives at the customer's, and no more at the shop."""
    road = Road()
    road.roster.steer("rdr_1", course("PICKED_UP"))
    road.drive(2_000, 2_000, speed=0.1)
    road.drive(4_990, 4_995, every_ms=600_000, speed=0.1)
    assert road.arrivals == [Arrival("ord_1", "rdr_1", "dropoff")]


def test_a_rider_who_said_so_is_not_seen_again():
    """After his tap his positions have nothing to add; a course of others' orders is not his."""
    road = Road()
    road.roster.steer("rdr_1", course("AT_PICKUP"))
    road.roster.steer("rdr_1", course("ASSIGNED", "ord_of_others"))
    road.drive(2_000, 2_000, 2_000, speed=0.0)
    assert road.arrivals == []


async def test_watchers_are_told_when_he_will_be_there():
    """An estimate comes with the first fix, then when it changes or a while has passed."""
    road, screen = Road(), Etas()
    await road.watchers.join("ord_1", screen)
    road.drive(*(step * 7.3 / 1.4 * 4 for step in range(10)), every_ms=4_000)
    seconds = [int(str(each["etaSeconds"])) for each in screen.told]
    assert {(each["orderId"], each["to"]) for each in screen.told} == {("ord_1", "pickup")}
    assert seconds[0] == round(2_000 * 1.4 / 7.3)
    assert seconds == sorted(seconds, reverse=True)
    assert 2 <= len(seconds) <= 4


async def test_nobody_is_told_what_nobody_watches():
    """Estimates cross to another node only while somebody watches there."""
    hub, screen = Hub(), Etas()
    road, there = Road(hub), Node("b", hub)
    road.drive(0)
    await road.drain.flush()
    await there.watchers.join("ord_1", screen)
    road.drive(20)
    await road.drain.flush()
    assert screen.told == []
    road.drive(40)
    await road.drain.flush()
    assert len(screen.told) == 1


def test_a_slow_street_is_learned():
    """After half an hour of crawling, what one drives there is slower than what nobody knows."""
    road, fresh = Road(), Road()
    road.drive(*(step * 15 for step in range(100)), every_ms=10_000)
    [seat] = road.roster
    assert seat.position is not None
    key = (cell_of(seat.position.lat, seat.position.lng), hour_of(seat.position.ts), None)
    assert road.speeds.speed_mps(key) < 0.7 * fresh.speeds.speed_mps(key)


def test_what_others_learn_of_the_streets_shows_within_half_a_minute():
    """A jam that their riders are in makes the way longer for one who has not reached it."""
    road = Road()
    road.drive(0)
    [seat] = road.roster
    [leg], position, forecast = seat.legs, seat.position, Forecast(road.speeds)
    assert position is not None
    before_s = forecast.seconds(leg, position, None, 1_000)
    key = (cell_of(position.lat, position.lng), hour_of(position.ts), None)
    road.speeds.learn(key, metres=1_000, seconds=1_000)
    later = msgspec.structs.replace(position, received_at=position.received_at + 30_000)
    assert forecast.seconds(leg, later, None, 1_000) > 1.5 * before_s
