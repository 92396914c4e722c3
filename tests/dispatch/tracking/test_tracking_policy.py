"""Fixes of a busy rider set its reporting interval, detect arrivals, and update ETAs."""

import orjson

from dispatch.ids import OrderId
from dispatch.model import DispatchState, Place, RiderAssignment
from dispatch.tracking.tracking_policy import Arrival
from tests.dispatch.tracking.node import DEGREE_M, DOUALA, FakeChannels, Node, fix

PICKUP_M, DROPOFF_M = 2_000.0, 5_000.0


def place(north_m: float) -> Place:
    return Place(lat=DOUALA[0] + north_m / DEGREE_M, lng=DOUALA[1])


def assignment(state: str = "ASSIGNED", order_id: str = "ord_1") -> RiderAssignment:
    """An order with its pickup 2 km and its dropoff 5 km north of the usual place."""
    return RiderAssignment(
        order_id=OrderId(order_id),
        state=DispatchState(state),
        pickup=place(PICKUP_M),
        dropoff=place(DROPOFF_M),
    )


class EtaWatcher:
    """A watcher that keeps the ETA updates only."""

    def __init__(self) -> None:
        self.updates: list[dict[str, object]] = []

    def send_position(self, packet: bytes) -> None:
        name, body = orjson.loads(packet.partition(b",")[2])
        self.updates += [body] * (name == "eta_update")


class BusyRiderNode(Node):
    """A node with one rider that has an order; records its policies and arrivals."""

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
        """Report fixes this many metres north, one after the other."""
        for north_m in norths_m:
            self.clock.advance(every_ms)
            assert self.report("rdr_1", fix(north_m, ts=self.clock.now_ms(), **fields)) is None


def test_coarse_fixes_show_no_arrival():
    """Two slow fixes at the pickup do, if they are exact to 60 m."""
    node = BusyRiderNode()
    node.drive(PICKUP_M, PICKUP_M + 1, PICKUP_M + 2, speed=0.0, accuracy=61.0)
    assert node.arrivals == []
    node.drive(PICKUP_M + 3, PICKUP_M + 4, speed=0.0, accuracy=50.0)
    assert [each.stop for each in node.arrivals] == ["pickup"]


async def test_an_app_is_sent_a_changed_reporting_interval():
    """Sent on connect, when the order is watched, and when it is released; never twice the same."""
    node = BusyRiderNode()
    node.fix_pipeline.send_tracking_policy("rdr_1")
    node.drive(0, 50, 100)
    assert node.policies == [(4_000, 15)]
    await node.watchers.join("ord_1", EtaWatcher())
    node.drive(150, 200)
    assert node.policies[1:] == [(2_000, 8)]
    node.rider_registry.release("rdr_1", "ord_1")
    node.drive(250, 300)
    assert node.policies[2:] == [(15_000, 50)]


async def test_a_watched_rider_gets_the_close_interval_on_connect():
    """It is sent on connect, and not again with the first fix."""
    node = BusyRiderNode()
    await node.watchers.join("ord_1", EtaWatcher())
    node.fix_pipeline.send_tracking_policy("rdr_1")
    node.drive(0, 50)
    assert node.policies == [(2_000, 8)]


async def test_a_watcher_on_another_node_shortens_the_interval():
    """A rider that is watched at another node gets the close interval after a flush."""
    channels = FakeChannels()
    node, there = BusyRiderNode(channels), Node("b", channels)
    node.drive(0)
    await there.watchers.join("ord_1", EtaWatcher())
    await node.writer.flush()
    node.drive(30)
    assert node.policies[-1] == (2_000, 8)
    await there.watchers.leave_all(EtaWatcher())


def test_two_slow_fixes_are_an_arrival_once():
    """The second slow fix at the pickup is an arrival, later ones are not."""
    node = BusyRiderNode()
    node.drive(1_800, 1_990, 1_995, 2_000, 2_005, speed=0.5)
    assert node.arrivals == [Arrival("ord_1", "rdr_1", "pickup")]


def test_an_arrival_is_detected_in_a_burst_of_fixes():
    """Four fixes within 20 ms, as after a bad connection, are all evaluated near the stop."""
    node = BusyRiderNode()
    node.drive(1_920, 1_980, 1_990, 1_990, every_ms=5, speed=1.0)
    assert node.arrivals == [Arrival("ord_1", "rdr_1", "pickup")]


def test_driving_past_is_not_an_arrival():
    """Fast fixes at the stop are no arrival, with a reported speed or without one."""
    node = BusyRiderNode()
    node.drive(1_970, 1_985, 2_000, 2_015, 2_030, every_ms=2_000, speed=7.5)
    assert node.arrivals == []
    silent = BusyRiderNode()
    silent.drive(1_900, 1_965, 2_030, 2_095, every_ms=8_000)
    assert silent.arrivals == []


def test_staying_five_seconds_near_the_stop_is_an_arrival():
    """One fix within 40 m and, eight seconds later, another within 60 m are an arrival."""
    node = BusyRiderNode()
    node.drive(1_970, 1_955, every_ms=4_000, speed=1.0)
    assert node.arrivals == []
    node.drive(1_950, every_ms=4_000, speed=1.0)
    assert node.arrivals == [Arrival("ord_1", "rdr_1", "pickup")]


def test_leaving_the_stop_resets_the_detection():
    """A fix beyond 60 m cancels the evidence of the one before it."""
    node = BusyRiderNode()
    node.drive(1_990, 1_930, 1_990, speed=1.0, every_ms=30_000)
    assert node.arrivals == []


def test_after_the_pickup_only_the_dropoff_counts():
    """A rider with the goods arrives at the dropoff, and not at the pickup again."""
    node = BusyRiderNode()
    node.rider_registry.set_assignment("rdr_1", assignment("PICKED_UP"))
    node.drive(2_000, 2_000, speed=0.1)
    node.drive(4_990, 4_995, every_ms=600_000, speed=0.1)
    assert node.arrivals == [Arrival("ord_1", "rdr_1", "dropoff")]


def test_a_confirmed_arrival_is_not_detected_again():
    """After the app has confirmed the arrival, and for orders of other riders, none is detected."""
    node = BusyRiderNode()
    node.rider_registry.set_assignment("rdr_1", assignment("AT_PICKUP"))
    node.rider_registry.set_assignment("rdr_1", assignment("ASSIGNED", "ord_of_others"))
    node.drive(2_000, 2_000, 2_000, speed=0.0)
    assert node.arrivals == []


async def test_watchers_get_eta_updates():
    """An ETA is sent with the first fix, then when it changes or some time has passed."""
    node, watcher = BusyRiderNode(), EtaWatcher()
    await node.watchers.join("ord_1", watcher)
    node.drive(*(step * 7.3 / 1.4 * 4 for step in range(10)), every_ms=4_000)
    seconds = [int(str(each["etaSeconds"])) for each in watcher.updates]
    assert {(each["orderId"], each["to"]) for each in watcher.updates} == {("ord_1", "pickup")}
    assert seconds[0] == round(2_000 * 1.4 / 7.3)
    assert seconds == sorted(seconds, reverse=True)
    assert 2 <= len(seconds) <= 4


async def test_etas_are_sent_only_while_watched():
    """ETAs are published to another node only once it is known to have a watcher."""
    channels, watcher = FakeChannels(), EtaWatcher()
    node, there = BusyRiderNode(channels), Node("b", channels)
    node.drive(0)
    await node.writer.flush()
    await there.watchers.join("ord_1", watcher)
    node.drive(20)
    await node.writer.flush()
    assert watcher.updates == []
    node.drive(40)
    await node.writer.flush()
    assert len(watcher.updates) == 1
