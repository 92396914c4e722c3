"""Whoever watches an order is told of it from the moment he joined, wherever its rider is."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from tests.dispatch.tracking.node import FakeChannels, Node, RecordingWatcher, fix


async def two_nodes() -> tuple[Node, Node, RecordingWatcher]:
    """A rider with an order at node a, his customer at node b."""
    hub, screen = FakeChannels(), RecordingWatcher()
    here, there = Node("a", hub), Node("b", hub)
    here.put_on_duty("rdr_1", "ord_1")
    await there.watchers.join("ord_1", screen)
    return here, there, screen


async def test_a_watcher_on_another_node_gets_positions():
    """A rider's position crosses to the node of his customer with the next flush, once."""
    here, _, screen = await two_nodes()
    here.report("rdr_1", fix(0))
    here.report("rdr_1", fix(10))
    assert screen.packets == []
    await here.writer.flush()
    here.rider_registry.set_attributes("rdr_1", here.rider_registry.connect("rdr_1").attributes)
    await here.writer.flush()
    assert screen.path == [("ord_1", 10, "live")]


async def test_staleness_reaches_other_nodes():
    """That a rider went silent is told everywhere, not only where he was connected."""
    here, _, screen = await two_nodes()
    here.report("rdr_1", fix(0))
    await here.writer.flush()
    here.pass_time(16_000)
    await here.writer.flush()
    here.pass_time(30_000)
    await here.writer.flush()
    assert [each[2] for each in screen.path] == ["live", "stale", "lost"]


async def test_riders_of_a_killed_node_do_not_stay_live():
    """A node that says nothing more leaves its riders stale, then lost, on the others' maps."""
    here, there, screen = await two_nodes()
    here.report("rdr_1", fix(0))
    await here.writer.flush()
    there.pass_time(60_000)
    assert screen.path == [("ord_1", 0, "live"), ("ord_1", 0, "stale"), ("ord_1", 0, "lost")]
    here.report("rdr_1", fix(9))
    await here.writer.flush()
    there.pass_time(10_000)
    assert screen.path[3:] == [("ord_1", 9, "live")]


async def test_a_freshness_change_is_sent_once():
    """Where a rider's own node says that he is stale or lost, nobody says so again."""
    here, there, screen = await two_nodes()
    here.report("rdr_1", fix(0))
    await here.writer.flush()
    for _ in range(60):
        here.pass_time(1_000)
        await here.writer.flush()
        there.pass_time(1_000)
    assert [each[2] for each in screen.path] == ["live", "stale", "lost"]


async def test_a_former_watcher_gets_no_staleness_updates():
    """A marker that nobody looks at any more does not age."""
    here, there, screen = await two_nodes()
    here.report("rdr_1", fix(0))
    await here.writer.flush()
    there.pass_time(1_000)
    await there.watchers.leave("ord_1", screen)
    later = RecordingWatcher()
    await there.watchers.join("ord_1", later)
    there.pass_time(60_000)
    assert (screen.path, later.path) == ([("ord_1", 0, "live")], [])


async def test_only_nodes_with_a_watcher_subscribe():
    """A node subscribes with its first watcher of an order and ends with the last."""
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
    """While the rider reports here, his own node neither listens nor tells a thing twice."""
    node, screen = Node(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", screen)
    assert node.channels.listener_count("ord_1") == 1
    node.report("rdr_1", fix(0))
    await node.writer.flush()
    await node.watchers.sync_subscriptions()
    assert node.channels.listener_count("ord_1") == 0
    node.report("rdr_1", fix(10))
    await node.writer.flush()
    assert [each[1] for each in screen.path] == [0, 10]


async def test_a_rider_who_moves_to_another_node_stays_in_sight():
    """When a rider falls silent here his watchers listen for him elsewhere."""
    here, there, screen = await two_nodes()
    there.put_on_duty("rdr_1", "ord_1")
    there.report("rdr_1", fix(0))
    await there.watchers.sync_subscriptions()
    assert there.channels.listener_count("ord_1") == 0
    there.pass_time(16_000)
    await there.watchers.sync_subscriptions()
    here.report("rdr_1", fix(50))
    await here.writer.flush()
    assert screen.path == [("ord_1", 0, "live"), ("ord_1", 0, "stale"), ("ord_1", 50, "live")]


async def test_the_previous_node_does_not_move_the_marker_back():
    """A rider came back by another node; the one he left found him silent, and said so.

    His customers, wherever they were, saw him jump back and be stale until his next fix.
    """
    left, now, screen = await two_nodes()
    near = RecordingWatcher()
    await left.watchers.join("ord_1", near)
    left.report("rdr_1", fix(0))
    await left.writer.flush()
    left.rider_registry.disconnect("rdr_1")
    for node in (left, now):
        node.pass_time(14_000)
    now.put_on_duty("rdr_1", "ord_1")
    now.report("rdr_1", fix(70))
    await now.writer.flush()
    for node in (left, now):
        node.pass_time(2_000)
    await left.watchers.sync_subscriptions()
    now.report("rdr_1", fix(90))
    for node in (left, now):
        await node.writer.flush()

    seen = [("ord_1", 0, "live"), ("ord_1", 70, "live"), ("ord_1", 90, "live")]
    assert screen.path == seen
    assert [each[1] for each in near.path][-1] == 90


async def test_the_loop_follows_riders_as_they_come_and_go():
    """The background loop ends listening soon after a rider has begun to report here."""
    node, screen = Node(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", screen)
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
    """Without Redis a watcher still sees the riders of his own node."""
    node, screen = Node(), RecordingWatcher()
    node.channels.is_unavailable = True
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", screen)
    node.report("rdr_1", fix(0))
    assert [each[1] for each in screen.path] == [0]


async def test_a_watcher_that_left_gets_nothing_more():
    """A watcher who is gone is gone from all his orders at once; others stay."""
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
def test_snapshot_and_what_follows_equal_a_fresh_snapshot(script: list[str], joins_at: int):
    """Whenever a watcher joins, here or elsewhere, his snapshot and the packets end up right."""
    asyncio.run(run_script(script, joins_at))


async def run_script(script: list[str], joins_at: int) -> None:
    hub, local, remote = FakeChannels(), RecordingWatcher(), RecordingWatcher()
    here, there = Node("a", hub), Node("b", hub)
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
    for name, screen in (("here", local), ("there", remote)):
        for told in screen.updates:
            views[name] = told["location"]["lat"]
    assert views == dict.fromkeys(views, shown_lat(here))


def shown_lat(node: Node) -> float | None:
    shown = node.fix_pipeline.last_position("rdr_1")
    return shown.position.lat if shown else None
