"""A watcher gets every position of its order from the moment it joins, from any node."""

import asyncio

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tests.dispatch.tracking.node import FakeChannels, Node, RecordingWatcher, fix


async def two_nodes() -> tuple[Node, Node, RecordingWatcher]:
    """A rider with an order at node a, a watcher of the order at node b."""
    channels, watcher = FakeChannels(), RecordingWatcher()
    here, there = Node("a", channels), Node("b", channels)
    here.put_on_duty("rdr_1", "ord_1")
    await there.watchers.join("ord_1", watcher)
    return here, there, watcher


async def test_a_watcher_on_another_node_gets_positions():
    """A position reaches the watcher's node with the next flush, and is sent once."""
    here, _, watcher = await two_nodes()
    here.report("rdr_1", fix(0))
    here.report("rdr_1", fix(10))
    assert watcher.packets == []
    await here.writer.flush()
    here.rider_registry.set_attributes("rdr_1", here.rider_registry.connect("rdr_1").attributes)
    await here.writer.flush()
    assert watcher.path == [("ord_1", 10, "live")]


async def test_staleness_reaches_other_nodes():
    """Stale and lost are published to other nodes too."""
    here, _, watcher = await two_nodes()
    here.report("rdr_1", fix(0))
    await here.writer.flush()
    here.pass_time(16_000)
    await here.writer.flush()
    here.pass_time(30_000)
    await here.writer.flush()
    assert [each[2] for each in watcher.path] == ["live", "stale", "lost"]


async def test_riders_of_a_killed_node_do_not_stay_live():
    """The riders of a silent node become stale, then lost, at other nodes, until the next fix."""
    here, there, watcher = await two_nodes()
    here.report("rdr_1", fix(0))
    await here.writer.flush()
    there.pass_time(60_000)
    assert watcher.path == [("ord_1", 0, "live"), ("ord_1", 0, "stale"), ("ord_1", 0, "lost")]
    here.report("rdr_1", fix(9))
    await here.writer.flush()
    there.pass_time(10_000)
    assert watcher.path[3:] == [("ord_1", 9, "live")]


async def test_a_freshness_change_is_sent_once():
    """When the rider's own node publishes stale and lost, other nodes do not repeat it."""
    here, there, watcher = await two_nodes()
    here.report("rdr_1", fix(0))
    await here.writer.flush()
    for _ in range(60):
        here.pass_time(1_000)
        await here.writer.flush()
        there.pass_time(1_000)
    assert [each[2] for each in watcher.path] == ["live", "stale", "lost"]


async def test_a_former_watcher_gets_no_staleness_updates():
    """A position that was sent before the last watcher left is not downgraded for a later one."""
    here, there, watcher = await two_nodes()
    here.report("rdr_1", fix(0))
    await here.writer.flush()
    there.pass_time(1_000)
    await there.watchers.leave("ord_1", watcher)
    later = RecordingWatcher()
    await there.watchers.join("ord_1", later)
    there.pass_time(60_000)
    assert (watcher.path, later.path) == ([("ord_1", 0, "live")], [])


async def test_only_nodes_with_a_watcher_subscribe():
    """A node subscribes with the first watcher of an order and unsubscribes with the last."""
    _, there, first = await two_nodes()
    second = RecordingWatcher()
    await there.watchers.join("ord_1", second)
    await there.watchers.join("ord_1", second)
    assert there.channels.listener_count("ord_1") == 1
    await there.watchers.leave("ord_1", first)
    assert there.channels.listener_count("ord_1") == 1
    assert there.watchers.is_watched("ord_1")
    await there.watchers.leave("ord_1", second)
    await there.watchers.leave("ord_1", second)
    assert there.channels.listener_count("ord_1") == 0
    assert not there.watchers.is_watched("ord_1")


async def test_a_local_rider_needs_no_subscription():
    """While the rider reports here the channel is not subscribed, and each fix is sent once."""
    node, watcher = Node(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", watcher)
    assert node.channels.listener_count("ord_1") == 1
    node.report("rdr_1", fix(0))
    await node.writer.flush()
    await node.watchers.sync_subscriptions()
    assert node.channels.listener_count("ord_1") == 0
    node.report("rdr_1", fix(10))
    await node.writer.flush()
    assert [each[1] for each in watcher.path] == [0, 10]


async def test_a_rider_who_moves_to_another_node_is_followed():
    """When a rider becomes stale here, the channel is subscribed for positions from elsewhere."""
    here, there, watcher = await two_nodes()
    there.put_on_duty("rdr_1", "ord_1")
    there.report("rdr_1", fix(0))
    await there.watchers.sync_subscriptions()
    assert there.channels.listener_count("ord_1") == 0
    there.pass_time(16_000)
    await there.watchers.sync_subscriptions()
    here.report("rdr_1", fix(50))
    await here.writer.flush()
    assert watcher.path == [("ord_1", 0, "live"), ("ord_1", 0, "stale"), ("ord_1", 50, "live")]


async def test_the_previous_node_does_not_move_the_marker_back():
    """A stale position of the node that a rider has left is not sent after a newer one.

    Watchers at both nodes used to see the rider jump back and be stale until its next fix.
    """
    left, current, watcher = await two_nodes()
    near = RecordingWatcher()
    await left.watchers.join("ord_1", near)
    left.report("rdr_1", fix(0))
    await left.writer.flush()
    left.rider_registry.disconnect("rdr_1")
    for node in (left, current):
        node.pass_time(14_000)
    current.put_on_duty("rdr_1", "ord_1")
    current.report("rdr_1", fix(70))
    await current.writer.flush()
    for node in (left, current):
        node.pass_time(2_000)
    await left.watchers.sync_subscriptions()
    current.report("rdr_1", fix(90))
    for node in (left, current):
        await node.writer.flush()

    seen = [("ord_1", 0, "live"), ("ord_1", 70, "live"), ("ord_1", 90, "live")]
    assert watcher.path == seen
    assert [each[1] for each in near.path][-1] == 90


async def test_the_loop_updates_subscriptions():
    """The loop unsubscribes when a rider reports here and subscribes when the order is released."""
    node, watcher = Node(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", watcher)
    loop = asyncio.create_task(node.watchers.run())
    node.report("rdr_1", fix(0))
    for _ in range(5):
        await asyncio.sleep(0)
    assert node.channels.listener_count("ord_1") == 0
    node.rider_registry.release("rdr_1", "ord_1")
    for _ in range(5):
        await asyncio.sleep(0)
    assert node.channels.listener_count("ord_1") == 1
    loop.cancel()


async def test_joining_works_while_redis_is_unavailable():
    """Without Redis a watcher gets the positions of riders of its own node."""
    node, watcher = Node(), RecordingWatcher()
    node.channels.is_unavailable = True
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", watcher)
    node.report("rdr_1", fix(0))
    assert [each[1] for each in watcher.path] == [0]


async def test_a_watcher_that_left_gets_nothing_more():
    """A watcher that leaves gets nothing for any of its orders from then on; others stay."""
    node, gone, stays = Node(), RecordingWatcher(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1", "ord_2")
    for order in ("ord_1", "ord_2"):
        await node.watchers.join(order, gone)
    await node.watchers.join("ord_2", stays)
    leaving = asyncio.create_task(node.watchers.leave_all(gone))
    await asyncio.sleep(0)
    node.report("rdr_1", fix(0))
    await leaving
    await node.watchers.leave_all(gone)
    assert gone.packets == []
    assert stays.path == [("ord_2", 0, "live")]
    assert not node.watchers.is_watched("ord_1")
    assert node.channels.listener_count("ord_1") == 0


@given(st.lists(st.sampled_from(["fix", "flush", "refuse"]), max_size=20), st.integers(0, 20))
def test_snapshot_and_updates_equal_a_fresh_snapshot(script: list[str], joins_at: int):
    """Whenever a watcher joins, here or elsewhere, snapshot plus packets give the last position."""
    asyncio.run(run_script(script, joins_at))


async def run_script(script: list[str], joins_at: int) -> None:
    channels, local, remote = FakeChannels(), RecordingWatcher(), RecordingWatcher()
    here, there = Node("a", channels), Node("b", channels)
    here.put_on_duty("rdr_1", "ord_1")
    views: dict[str, float | None] = {"here": None, "there": None}
    for step, what in enumerate([*script[:joins_at], "join", *script[joins_at:]]):
        here.clock.advance(1_000)
        match what:
            case "fix":
                here.report("rdr_1", fix(step * 7))
            case "refuse":
                here.report("rdr_1", fix(step * 7, accuracy=500.0))
            case "flush":
                await here.writer.flush()
            case _:
                await here.watchers.join("ord_1", local)
                await there.watchers.join("ord_1", remote)
                views = dict.fromkeys(views, shown_lat(here))
    await here.writer.flush()
    for name, watcher in (("here", local), ("there", remote)):
        for update in watcher.updates:
            views[name] = update["location"]["lat"]
    assert views == dict.fromkeys(views, shown_lat(here))


def shown_lat(node: Node) -> float | None:
    shown = node.fix_pipeline.last_position("rdr_1")
    return shown.position.lat if shown else None


async def test_a_position_that_was_made_earlier_is_not_shown():
    """A node that the rider has just come to may not know its phone's clock."""
    here, there, watcher = await two_nodes()
    here.report("rdr_1", fix(0, ts=here.clock.now_ms()))
    await here.writer.flush()
    [newest] = watcher.updates
    older = {**newest, "ts": newest["ts"] - 1, "receivedAt": newest["receivedAt"] + 1}
    packet = b'42/user,["rider_location_update",' + orjson.dumps(older) + b"]"
    there.channels.publish("c", "ord_1", packet)

    assert watcher.updates == [newest]
