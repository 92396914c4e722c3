"""A server that is late lets fixes overtake one another, and nothing else."""

import asyncio
from typing import Any

import pytest

from dispatch import metrics
from dispatch.clock import ManualClock
from handlers.sessions.rate_limits import TokenBucket
from handlers.transport.load_shedding import (
    FIXES_PER_TICK,
    LAG_THRESHOLD_S,
    RECOVERY_S,
    LoadShedder,
)

LAG_S, NO_LAG_S = 2 * LAG_THRESHOLD_S, 0.0


def fix(number: int) -> str:
    """The frame of a fix."""
    return f'42/rider,["location_update",{{"seq":{number}}}]'


class FakeConnection:
    """A connection that notes what is carried out."""

    def __init__(self) -> None:
        self.handled: list[str] = []
        self.violations = 0
        self.closed = False
        self.try_fast_path: Any = self.fast_path

    def fast_path(self, text: str) -> bool:
        """The quick way; it leaves odd frames to the other one."""
        return "odd" not in text and self.run_slow_path(text)

    def run_slow_path(self, text: str) -> bool:
        """The way of everything else."""
        self.handled.append(text)
        return True

    def count_violation(self) -> None:
        """One request too many."""
        self.violations += 1

    def receive(self, *texts: str) -> None:
        """Frames come in one go."""
        for text in texts:
            assert self.try_fast_path(text) or self.run_slow_path(text)


class FakeSession:
    """One socket of a rider or somebody else."""

    def __init__(self, namespace: str = "/rider", fixes_per_s: float = 1_000.0) -> None:
        self.namespace = namespace
        self.connection = FakeConnection()
        self.fix_bucket = TokenBucket(fixes_per_s, fixes_per_s)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def load_shedder_of(clock: ManualClock, *sockets: FakeSession) -> LoadShedder:
    """A rush over these sockets, on from the beginning."""
    rush = LoadShedder(list(sockets), clock)  # type: ignore[arg-type]
    rush.record_lag(LAG_S)
    return rush


async def test_under_load_only_the_newest_fix_is_handled(clock: ManualClock):
    """Of many fixes that came at once one is carried out, in the next turn; the others count."""
    socket, other = FakeSession(), FakeSession()
    dropped = metrics.FIXES_DROPPED.labels("coalesced")
    before, received = dropped._value.get(), metrics.FIXES_RECEIVED._value.get()
    rush = load_shedder_of(clock, socket, other)

    socket.connection.receive(fix(1), fix(2), fix(3))
    other.connection.receive(fix(7))
    assert socket.connection.handled == []
    await asyncio.sleep(0)

    assert socket.connection.handled == [fix(3)]
    assert other.connection.handled == [fix(7)]
    rush.record_lag(NO_LAG_S)
    assert dropped._value.get() - before == 2
    assert metrics.FIXES_RECEIVED._value.get() - received == 2


async def test_without_lag_nothing_waits(clock: ManualClock):
    """A server that keeps up carries every fix out at once, before a rush and after it."""
    socket = FakeSession()
    rush = LoadShedder([socket], clock)  # type: ignore[list-item,arg-type]
    rush.record_lag(NO_LAG_S)
    socket.connection.receive(fix(1), fix(2))
    assert socket.connection.handled == [fix(1), fix(2)]

    rush.record_lag(LAG_S)
    clock.advance(int(RECOVERY_S * 1000))
    rush.record_lag(NO_LAG_S)
    assert rush.is_shedding, "a rush does not end before its time"
    clock.advance(1)
    socket.connection.receive(fix(3))
    rush.record_lag(NO_LAG_S)
    socket.connection.receive(fix(4), fix(5))

    assert socket.connection.handled == [fix(n) for n in range(1, 6)]
    assert socket.connection.try_fast_path == socket.connection.fast_path


async def test_a_command_is_handled_after_the_fix_before_it(clock: ManualClock):
    """What a rider says stays in order: where he was, then what he did there."""
    socket = FakeSession()
    load_shedder_of(clock, socket)

    socket.connection.receive(fix(1), '42/rider,["pick_up",{}]', fix(2), "3", fix(3))
    await asyncio.sleep(0)

    said = [fix(1), '42/rider,["pick_up",{}]', fix(2), "3", fix(3)]
    assert socket.connection.handled == said


async def test_a_malformed_fix_takes_the_slow_path(clock: ManualClock):
    """A frame that the quick way does not take takes the other way, late as it is."""
    socket = FakeSession()
    load_shedder_of(clock, socket)

    socket.connection.receive('42/rider,["location_update",{"odd":1}]')
    await asyncio.sleep(0)

    assert socket.connection.handled == ['42/rider,["location_update",{"odd":1}]']


async def test_coalesced_fixes_count_towards_the_rate_limit(clock: ManualClock):
    """Fixes that go no further count towards the limit of their socket."""
    socket = FakeSession(fixes_per_s=10.0)
    load_shedder_of(clock, socket)

    socket.connection.receive(*(fix(n) for n in range(31)))

    assert socket.connection.violations == 20


async def test_a_closed_socket_is_skipped(clock: ManualClock):
    """The last fix of a connection that has ended is not carried out after its end."""
    socket = FakeSession()
    rush = load_shedder_of(clock, socket)
    socket.connection.receive(fix(1))
    socket.connection.closed = True
    socket.connection.try_fast_path = None
    clock.advance(int(RECOVERY_S * 1000) + 1)
    rush.record_lag(NO_LAG_S)

    assert socket.connection.handled == []
    assert socket.connection.try_fast_path is None


async def test_only_riders_fixes_are_coalesced_latecomers_included(clock: ManualClock):
    """Customers' frames go their way; a rider who connects during a rush is part of it."""
    customer, late = FakeSession("/user"), FakeSession()
    sockets = [customer]
    rush = LoadShedder(sockets, clock)  # type: ignore[arg-type]
    rush.record_lag(LAG_S)
    sockets.append(late)
    rush.record_lag(NO_LAG_S)
    late.connection.receive(fix(1), fix(2))
    await asyncio.sleep(0)

    assert customer.connection.try_fast_path == customer.connection.fast_path
    assert late.connection.handled == [fix(2)]


async def test_fixes_per_tick_are_bounded(clock: ManualClock):
    """A crowd's fixes take several turns, so that what comes meanwhile is read between them."""
    sockets = [FakeSession() for _ in range(FIXES_PER_TICK + 1)]
    load_shedder_of(clock, *sockets)
    for socket in sockets:
        socket.connection.receive(fix(1))
    await asyncio.sleep(0)
    last = sockets[-1].connection
    assert [last.handled, sockets[0].connection.handled] == [[], [fix(1)]]
    last.receive(fix(2))
    await asyncio.sleep(0)

    assert last.handled == [fix(2)]
