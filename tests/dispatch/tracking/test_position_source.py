"""A rider on two phones is shown where one of them is, and the other one is told."""

from typing import Any

import orjson
import pytest

from dispatch.tracking.fix_pipeline import BatchResult
from dispatch.tracking.fixes.model import Drop
from tests.dispatch.tracking.node import Node, RecordingWatcher, fix

EVERY_MS, STEP_M = 4_000, 30.0
SHOP_M = -3_000.0


class TwoPhones(Node):
    """A node with a rider on two sockets; records what they are told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, bool]] = []
        self.watcher = RecordingWatcher()
        self.fix_pipeline.sources.on_source(self._on_source)
        self.put_on_duty("rdr_1", "ord_1")

    def _on_source(self, rider_id: str, sid: str, packet: bytes) -> None:
        name, body = orjson.loads(packet.partition(b",")[2])
        assert (rider_id, name) == ("rdr_1", "position_source")
        self.told.append((sid, body["active"]))

    def open(self, sid: str) -> None:
        rider = self.rider_registry.connect("rdr_1")
        self.fix_pipeline.sources.open(rider, sid, self.clock.now_ms())

    def tap(self, sid: str) -> None:
        rider = self.rider_registry.get("rdr_1")
        assert rider is not None
        self.fix_pipeline.sources.tap(rider, sid, self.clock.now_ms())

    def send(self, sid: str, north_m: float, **fields: Any) -> object:
        now_ms = self.clock.now_ms()
        return self.fix_pipeline.process_fix(
            "rdr_1", fix(north_m, ts=now_ms, **fields), now_ms, sid
        )

    def close(self, sid: str) -> None:
        rider = self.rider_registry.get("rdr_1")
        assert rider is not None
        self.fix_pipeline.sources.close(rider, sid)
        self.rider_registry.disconnect("rdr_1")


class TwoNodes:
    """Two nodes with the same rider, which exchange their claims each second."""

    def __init__(self) -> None:
        self.nodes = {"a": TwoPhones(), "b": TwoPhones()}

    def pass_second(self) -> None:
        claims = {}
        for name, node in self.nodes.items():
            node.clock.advance(1_000)
            claims[name] = node.fix_pipeline.sources.take_claims(name, node.clock.now_ms())
        for name, node in self.nodes.items():
            rider = node.rider_registry.get("rdr_1")
            assert rider is not None
            for other in set(self.nodes) - {name}:
                for rider_id, claim in claims[other]:
                    assert rider_id == "rdr_1"
                    node.fix_pipeline.sources.note_claim(rider, claim, node.clock.now_ms())


async def two_phones() -> TwoPhones:
    node = TwoPhones()
    await node.watchers.join("ord_1", node.watcher)
    return node


@pytest.mark.parametrize("first", ["shop", "ride"])
@pytest.mark.parametrize("seq", [None, 1])
async def test_a_phone_left_at_the_shop_does_not_disturb_the_ride(first: str, seq: int | None):
    """Whichever connected first: soon only the riding phone is shown, and never as a jump."""
    node = await two_phones()
    second = {"shop": "ride", "ride": "shop"}[first]
    results: dict[str, list[object]] = {"shop": [], "ride": []}
    for sid in (first, second):
        node.open(sid)
    for i in range(40):
        for sid, north_m in {first: 0, second: 0, "ride": i * STEP_M}.items():
            node.clock.advance(EVERY_MS // 2)
            number = None if seq is None else i + 1
            results[sid].append(node.send(sid, north_m, seq=number))

    assert {*results["shop"], *results["ride"]} <= {None, Drop.PAUSED}
    assert results["ride"][10:] == [None] * 30
    assert results["shop"][10:] == [Drop.PAUSED] * 30
    shown = [each[1] for each in node.watcher.path][12:]
    assert shown == sorted(shown)
    assert dict(node.told)["shop"] is False
    assert dict(node.told).get("ride", True) is True


async def test_a_phone_far_away_is_paused_at_once():
    """It is no teleport, and moves nothing."""
    node = await two_phones()
    node.open("ride")
    for i in range(5):
        node.clock.advance(EVERY_MS)
        assert node.send("ride", i * STEP_M) is None
    node.open("shop")
    for i in range(5, 10):
        node.clock.advance(EVERY_MS)
        assert node.send("shop", SHOP_M) is Drop.PAUSED
        assert node.send("ride", i * STEP_M) is None
    rider = node.rider_registry.get("rdr_1")

    assert [each[1] for each in node.watcher.path] == [i * STEP_M for i in range(10)]
    assert node.told == [("shop", False)]
    assert rider is not None
    assert rider.seen_at_ms == node.clock.now_ms()


async def test_the_phone_that_the_rider_taps_on_is_active():
    """It is far from the other one, and is shown with its next fix."""
    node = await two_phones()
    for sid in ("a", "b"):
        node.open(sid)
    for _ in range(3):
        node.clock.advance(EVERY_MS)
        node.send("a", 0)
        node.send("b", SHOP_M)
    node.tap("b")
    node.clock.advance(EVERY_MS)
    results = [node.send("b", SHOP_M), node.send("a", 0)]
    node.clock.advance(EVERY_MS)
    results.append(node.send("b", SHOP_M + 6))

    assert results == [None, Drop.PAUSED, None]
    assert [each[1] for each in node.watcher.path] == [0, 0, 0, SHOP_M, SHOP_M + 6]
    assert node.told == [("b", False), ("b", True), ("a", False)]


async def test_the_other_phone_takes_over_when_the_active_one_stops():
    """15 s later; when the first one comes back it is paused."""
    node = await two_phones()
    for sid in ("a", "b"):
        node.open(sid)
    node.clock.advance(EVERY_MS)
    node.send("a", 0)
    results = []
    for _ in range(5):
        node.clock.advance(EVERY_MS)
        results.append(node.send("b", SHOP_M))
    results.append(node.send("a", 0))

    assert results == [Drop.PAUSED] * 3 + [None] * 2 + [Drop.PAUSED]
    assert node.told == [("b", False), ("b", True), ("a", False)]


@pytest.mark.parametrize("is_closed", [True, False])
async def test_a_phone_that_reconnects_goes_on_at_once(*, is_closed: bool):
    """Whether or not the server has noticed that its former socket is dead."""
    node = await two_phones()
    node.open("old")
    node.clock.advance(EVERY_MS)
    node.send("old", 0)
    for sid in ["old"] * is_closed:
        node.close(sid)
    node.clock.advance(EVERY_MS)
    node.open("new")
    for i in range(1, 5):
        assert node.send("new", i * STEP_M) is None
        node.clock.advance(EVERY_MS)

    assert [each[1] for each in node.watcher.path] == [i * STEP_M for i in range(5)]
    assert ("new", False) not in node.told


async def test_a_second_phone_that_was_taken_for_the_first_gives_way():
    """The first one sends again: there are two, and it was there before."""
    node = await two_phones()
    node.open("a")
    node.clock.advance(EVERY_MS)
    node.send("a", 0)
    node.clock.advance(1)
    node.open("b")
    node.clock.advance(1_000)
    assert node.send("b", 10) is None
    node.clock.advance(EVERY_MS)
    results = [node.send("a", 20), node.send("b", 10)]
    node.clock.advance(EVERY_MS)
    results.append(node.send("a", 30))

    assert results == [None, Drop.PAUSED, None]
    assert node.told[-2:] == [("a", True), ("b", False)]


async def test_a_batch_of_a_paused_phone_moves_nothing():
    """None of its fixes is used, and it is counted."""
    node = await two_phones()
    for sid in ("a", "b"):
        node.open(sid)
    node.clock.advance(EVERY_MS)
    node.send("a", 0)
    now_ms = node.clock.now_ms()
    batch = [fix(SHOP_M, ts=now_ms - i * EVERY_MS) for i in range(3)]

    assert node.fix_pipeline.process_batch("rdr_1", batch, now_ms, "b") == BatchResult(
        0, tuple((index, Drop.PAUSED) for index in range(3))
    )
    node.tap("b")
    later = [fix(SHOP_M, ts=now_ms + 1 + i) for i in range(3)]
    assert node.fix_pipeline.process_batch("rdr_1", later, now_ms + 9, "b").accepted_count == 3


async def test_many_sockets_of_one_rider_are_bounded():
    """The one that was silent longest is forgotten."""
    node = await two_phones()
    for number in range(30):
        node.open(f"sid_{number}")
        node.clock.advance(1_000)
    rider = node.rider_registry.get("rdr_1")

    assert rider is not None
    assert len(rider.sources) == 8


def ride_at_a(nodes: TwoNodes, seconds: int, b_north_m: float | None) -> dict[str, list[object]]:
    """Ride with a phone at node a, while another one lies still at node b."""
    results: dict[str, list[object]] = {"a": [], "b": []}
    for second in range(seconds):
        nodes.pass_second()
        for _ in range(second % 4 == 0):
            results["a"].append(nodes.nodes["a"].send("ride", second * 8.0))
        for _ in range(second % 4 == 2 and b_north_m is not None):
            results["b"].append(nodes.nodes["b"].send("shop", b_north_m or 0.0))
    return results


@pytest.mark.parametrize("b_north_m", [0.0, SHOP_M])
def test_two_phones_at_two_nodes_are_one_source(b_north_m: float):
    """After a few seconds one of them is paused at its node, and the ride is shown alone."""
    nodes = TwoNodes()
    nodes.nodes["a"].open("ride")
    nodes.nodes["b"].open("shop")
    results = ride_at_a(nodes, 120, b_north_m)

    assert set(results["a"][-15:]) == {None}
    assert set(results["b"][-15:]) == {Drop.PAUSED}
    assert nodes.nodes["b"].told[-1] == ("shop", False)


def test_the_other_node_takes_over_when_the_active_one_stops():
    """Its phone has stopped, or its node: no claim comes any more."""
    nodes = TwoNodes()
    nodes.nodes["a"].open("ride")
    nodes.nodes["b"].open("shop")
    ride_at_a(nodes, 60, SHOP_M)
    results = []
    for _ in range(8):
        nodes.nodes["b"].clock.advance(EVERY_MS)
        results.append(nodes.nodes["b"].send("shop", SHOP_M))

    assert results[-4:] == [None] * 4
    assert nodes.nodes["b"].told[-1] == ("shop", True)


def test_a_rider_with_one_phone_is_claimed_once():
    """Nodes without another phone of a rider cost each other nothing."""
    nodes = TwoNodes()
    node = nodes.nodes["a"]
    node.open("ride")
    counts = []
    for second in range(30):
        node.clock.advance(1_000)
        node.send("ride", second * 8.0)
        counts.append(len(node.fix_pipeline.sources.take_claims("a", node.clock.now_ms())))

    assert counts == [1] + [0] * 29
