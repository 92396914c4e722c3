"""A server that is late lets fixes overtake one another, and nothing else."""

import asyncio
from typing import Any

import pytest

from dispatch import metrics
from dispatch.clock import ManualClock
from handlers.sessions.rate_limits import Bucket
from handlers.transport.load_shedding import AT_ONCE, CALM_AFTER_S, LATE_S, Rush

LATE, IN_TIME = 2 * LATE_S, 0.0


def fix(number: int) -> str:
    """The frame of a fix."""
    return f'42/rider,["location_update",{{"seq":{number}}}]'


class Line:
    """A connection that notes what is carried out."""

    def __init__(self) -> None:
        self.carried_out: list[str] = []
        self.strikes = 0
        self.closed = False
        self.hear_quickly: Any = self.quickly

    def quickly(self, text: str) -> bool:
        """The quick way; it leaves odd frames to the other one."""
        return "odd" not in text and self.hear_slowly(text)

    def hear_slowly(self, text: str) -> bool:
        """The way of everything else."""
        self.carried_out.append(text)
        return True

    def strike(self) -> None:
        """One request too many."""
        self.strikes += 1

    def receive(self, *texts: str) -> None:
        """Frames come in one go."""
        for text in texts:
            assert self.hear_quickly(text) or self.hear_slowly(text)


class Socket:
    """One socket of a rider or somebody else."""

    def __init__(self, namespace: str = "/rider", fixes_per_s: float = 1_000.0) -> None:
        self.namespace = namespace
        self.connection = Line()
        self.fixes = Bucket(fixes_per_s, fixes_per_s)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def rush_of(clock: ManualClock, *sockets: Socket) -> Rush:
    """A rush over these sockets, on from the beginning."""
    rush = Rush(list(sockets), clock)  # type: ignore[arg-type]
    rush.beat(LATE)
    return rush


async def test_while_it_is_late_the_newest_fix_goes_on(clock: ManualClock):
    """Of many fixes that came at once one is carried out, in the next turn; the others count."""
    socket, other = Socket(), Socket()
    dropped = metrics.FIXES_DROPPED.labels("coalesced")
    before, received = dropped._value.get(), metrics.FIXES_RECEIVED._value.get()
    rush = rush_of(clock, socket, other)

    socket.connection.receive(fix(1), fix(2), fix(3))
    other.connection.receive(fix(7))
    assert socket.connection.carried_out == []
    await asyncio.sleep(0)

    assert socket.connection.carried_out == [fix(3)]
    assert other.connection.carried_out == [fix(7)]
    rush.beat(IN_TIME)
    assert dropped._value.get() - before == 2
    assert metrics.FIXES_RECEIVED._value.get() - received == 2


async def test_in_time_nothing_waits(clock: ManualClock):
    """A server that keeps up carries every fix out at once, before a rush and after it."""
    socket = Socket()
    rush = Rush([socket], clock)  # type: ignore[list-item,arg-type]
    rush.beat(IN_TIME)
    socket.connection.receive(fix(1), fix(2))
    assert socket.connection.carried_out == [fix(1), fix(2)]

    rush.beat(LATE)
    clock.advance(int(CALM_AFTER_S * 1000))
    rush.beat(IN_TIME)
    assert rush.is_on, "a rush does not end before its time"
    clock.advance(1)
    socket.connection.receive(fix(3))
    rush.beat(IN_TIME)
    socket.connection.receive(fix(4), fix(5))

    assert socket.connection.carried_out == [fix(n) for n in range(1, 6)]
    assert socket.connection.hear_quickly == socket.connection.quickly


async def test_a_command_comes_after_the_fix_before_it(clock: ManualClock):
    """What a rider says stays in order: where he was, then what he did there."""
    socket = Socket()
    rush_of(clock, socket)

    socket.connection.receive(fix(1), '42/rider,["pick_up",{}]', fix(2), "3", fix(3))
    await asyncio.sleep(0)

    said = [fix(1), '42/rider,["pick_up",{}]', fix(2), "3", fix(3)]
    assert socket.connection.carried_out == said


async def test_a_malformed_fix_gets_its_refusal(clock: ManualClock):
    """A frame that the quick way does not take takes the other way, late as it is."""
    socket = Socket()
    rush_of(clock, socket)

    socket.connection.receive('42/rider,["location_update",{"odd":1}]')
    await asyncio.sleep(0)

    assert socket.connection.carried_out == ['42/rider,["location_update",{"odd":1}]']


async def test_a_flood_is_counted_in_a_rush_too(clock: ManualClock):
    """Fixes that go no further count towards the limit of their socket."""
    socket = Socket(fixes_per_s=10.0)
    rush_of(clock, socket)

    socket.connection.receive(*(fix(n) for n in range(31)))

    assert socket.connection.strikes == 20


async def test_a_socket_that_is_gone_is_left_out(clock: ManualClock):
    """The last fix of a connection that has ended is not carried out after its end."""
    socket = Socket()
    rush = rush_of(clock, socket)
    socket.connection.receive(fix(1))
    socket.connection.closed = True
    socket.connection.hear_quickly = None
    clock.advance(int(CALM_AFTER_S * 1000) + 1)
    rush.beat(IN_TIME)

    assert socket.connection.carried_out == []
    assert socket.connection.hear_quickly is None


async def test_only_riders_are_guarded_and_those_who_come_later_too(clock: ManualClock):
    """Customers' frames go their way; a rider who connects during a rush is part of it."""
    customer, late = Socket("/user"), Socket()
    sockets = [customer]
    rush = Rush(sockets, clock)  # type: ignore[arg-type]
    rush.beat(LATE)
    sockets.append(late)
    rush.beat(IN_TIME)
    late.connection.receive(fix(1), fix(2))
    await asyncio.sleep(0)

    assert customer.connection.hear_quickly == customer.connection.quickly
    assert late.connection.carried_out == [fix(2)]


async def test_one_turn_carries_out_only_so_many(clock: ManualClock):
    """A crowd's fixes take several turns, so that what comes meanwhile is read between them."""
    sockets = [Socket() for _ in range(AT_ONCE + 1)]
    rush_of(clock, *sockets)
    for socket in sockets:
        socket.connection.receive(fix(1))
    await asyncio.sleep(0)
    last = sockets[-1].connection
    assert [last.carried_out, sockets[0].connection.carried_out] == [[], [fix(1)]]
    last.receive(fix(2))
    await asyncio.sleep(0)

    assert last.carried_out == [fix(2)]
