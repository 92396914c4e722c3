"""The audiences' callbacks: at connect and disconnect, and for changes from other nodes."""

import json
from typing import Any, cast

import pytest

from dispatch.clock import ManualClock
from dispatch.events.inbox import InboxMessage
from dispatch.ids import OrderId
from dispatch.keys import identity
from dispatch.model import DispatchState, RiderAssignment
from dispatch.orders.outbox_entry import WorkloadChange
from dispatch.tracking.stores.source_claims import SourceClaim
from handlers.sessions.session_registry import Session
from handlers.sockets.audiences import (
    COMMANDS,
    apply_workload_changes,
    build_audiences,
    note_source_claims,
    push_position_source,
    push_tracking_policy,
)
from handlers.sockets.event_delivery import EventDelivery
from tests.dispatch.tracking.node import Node, fix
from tests.factories import AKWA, BALI
from tests.handlers.sockets.composed_node import ComposedNode, a_session, packets_of
from tests.waiting import Until


class SessionsOfNode:
    """The sessions of this node by identity."""

    def __init__(self, *sessions: Session) -> None:
        self._sessions = list(sessions)
        self.add, self.remove = self._sessions.append, self._sessions.remove

    def for_identity(self, owner: str) -> list[Session]:
        return [session for session in self._sessions if session.identity == owner]


class RecordingRegistry:
    """Notes the calls to a rider registry."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.calls.append((name, *args))


def test_each_audience_has_commands():
    """Four audiences, and no command name with two meanings in one."""
    assert set(COMMANDS) == {"user", "vendor", "rider", "ops"}
    assert all(COMMANDS.values())


@pytest.mark.parametrize(
    ("carries", "calls"),
    [
        (True, [("assign", "rdr_1", "ord_1", 5_000)]),
        (False, [("release", "rdr_1", "ord_1")]),
    ],
)
def test_a_workload_change_reaches_registry_and_cash_headroom(
    carries: bool, calls: list[tuple[Any, ...]]
):
    """The order is assigned or released, and the rider's headroom is read again."""
    registry, headroom = RecordingRegistry(), RecordingRegistry()
    apply = apply_workload_changes(
        cast("Any", registry), cast("Any", headroom), ManualClock(start_ms=5_000)
    )
    apply("rdr_1", WorkloadChange(order_id=OrderId("ord_1"), carries=carries, assignment=None))
    assert registry.calls == calls
    assert headroom.calls == [("refresh_soon", "rdr_1")]


def test_an_order_that_goes_on_brings_its_assignment():
    """The registry gets the order's next stop after the order."""
    registry = RecordingRegistry()
    apply = apply_workload_changes(
        cast("Any", registry), cast("Any", RecordingRegistry()), ManualClock(start_ms=5_000)
    )
    assignment = RiderAssignment(
        order_id=OrderId("ord_1"), state=DispatchState.PICKED_UP, pickup=AKWA, dropoff=BALI
    )
    apply("rdr_1", WorkloadChange(order_id=OrderId("ord_1"), carries=True, assignment=assignment))
    assert [name for name, *_ in registry.calls] == ["assign", "set_assignment"]
    assert registry.calls[1] == ("set_assignment", "rdr_1", assignment)


def test_a_tracking_policy_goes_to_every_socket_of_its_rider():
    """And to no other rider."""
    phone, tablet, other = (
        a_session("rider", "rdr_1"), a_session("rider", "rdr_1"), a_session("rider", "rdr_2"),
    )  # fmt: skip
    push = push_tracking_policy(cast("Any", SessionsOfNode(phone, tablet, other)))
    push("rdr_1", b"policy")
    assert [packets_of(each) for each in (phone, tablet, other)] == [[b"policy"], [b"policy"], []]


def test_only_one_phone_of_a_rider_learns_that_its_fixes_are_not_used():
    """The one with that socket."""
    phone, tablet = a_session("rider", "rdr_1"), a_session("rider", "rdr_1")
    tablet.sid = "sid_tablet"
    push = push_position_source(cast("Any", SessionsOfNode(phone, tablet)))
    push("rdr_1", "sid_tablet", b"paused")
    assert [packets_of(each) for each in (phone, tablet)] == [[], [b"paused"]]


def a_claim(node: str) -> SourceClaim:
    return SourceClaim(node, "sid", is_active=True, connected_at_ms=1, fix_at_ms=2)


@pytest.mark.parametrize(
    ("rider_id", "node", "is_noted"),
    [("rdr_1", "other", True), ("rdr_1", "here", False), ("rdr_2", "other", False)],
)
def test_other_nodes_claims_are_noted_for_riders_of_this_node(
    rider_id: str, node: str, *, is_noted: bool
):
    """Its watchers then get the positions of the other node."""
    tracked = Node()
    tracked.put_on_duty("rdr_1", "ord_1")
    tracked.report("rdr_1", fix())
    rider = tracked.rider_registry.connect("rdr_1")
    tracked.fix_pipeline.sources.close(rider, "")
    sources = tracked.fix_pipeline.sources
    note = note_source_claims(tracked.rider_registry, sources, "here", tracked.clock)
    note(rider_id, a_claim(node))

    assert (rider.source is not None, rider.is_marked_local) == (is_noted, not is_noted)


@pytest.mark.engines
@pytest.mark.parametrize("audience", ["user", "vendor", "rider", "ops"])
async def test_each_audience_attaches_and_detaches_its_inbox(
    node: ComposedNode, until: Until, audience: str
):
    """The socket gets its identity's events from connect until disconnect."""
    session, owner = a_session(audience, "x_1"), identity(audience, "x_1")
    sessions = SessionsOfNode(session)
    delivery = EventDelivery(
        cast("Any", sessions),
        node.background.inboxes,
        node.background.pubsub,
        node.background.display_receipts,
        node.services.clock,
    )
    built = {each.name: each for each in build_audiences(node.contexts, delivery)}
    routes = built[cast("Any", audience)]
    assert routes.on_connect is not None
    assert routes.on_disconnect is not None

    async def append(number: int) -> None:
        message = InboxMessage(owner, f"e{number}", "notice", json.dumps({"n": number}))
        await node.background.inboxes.append([message], node.services.clock.now_ms())

    await routes.on_connect(session, None)
    await append(1)
    await until.true(lambda: _notices(session) == [1])
    sessions.remove(session)
    await routes.on_disconnect(session)
    await append(2)
    again = a_session(audience, "x_1")
    sessions.add(again)
    await routes.on_connect(again, None)
    await until.true(lambda: _notices(again) == [1, 2])
    assert _notices(session) == [1]


def _notices(session: Session) -> list[int]:
    prefix = f'42{session.namespace},["notice",'.encode()
    bodies = [p.removeprefix(prefix)[:-1] for p in packets_of(session) if p.startswith(prefix)]
    return [json.loads(body)["n"] for body in bodies]
