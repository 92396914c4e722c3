"""Fast path of a socket: which packets it runs, and how it holds fixes while load is shed."""

import asyncio
from typing import Any, cast

import pytest

from dispatch import metrics
from dispatch.clock import ManualClock
from dispatch.wire import commands
from handlers.sessions.rate_limits import TokenBucket
from handlers.sessions.session_registry import Session
from handlers.sockets.command_routes import AudienceRoutes, RouteTable, fix_route, route
from handlers.sockets.command_runner import CommandRunner
from handlers.sockets.fast_path import FastPath
from handlers.transport.load_shedding import LAG_THRESHOLD_S, RECOVERY_S, LoadShedder

LAG_S, NO_LAG_S = 2 * LAG_THRESHOLD_S, 0.0


class FakeConnection:
    """A connection that notes which packets took the slow path, and counts violations."""

    def __init__(self) -> None:
        self.slow_packets: list[str] = []
        self.violations = 0
        self.closed = False

    def run_slow_path(self, text: str) -> bool:
        self.slow_packets.append(text)
        return True

    def count_violation(self) -> None:
        self.violations += 1


class SocketHarness:
    """One rider's socket with its fast path; handled commands are noted in their order."""

    def __init__(
        self, load_shedder: LoadShedder, clock: ManualClock, fixes_per_s: float = 1_000.0
    ) -> None:
        self.connection = FakeConnection()
        self.namespace, self.identity = "/rider", "rider:rdr_1"
        self.fix_bucket = TokenBucket(fixes_per_s, fixes_per_s)
        self.command_bucket = TokenBucket(1_000, 1_000)
        self.handled: list[Any] = []
        self.activity_count = 0
        self.held_fix: Any = None

        def on_fix(_context: None, _session: Session, fix: commands.Fix) -> None:
            self.handled.append(fix.seq)

        def on_batch(_context: None, _session: Session, batch: commands.LocationBatch) -> None:
            self.handled.append([fix["seq"] for fix in batch.fixes])

        routes = {
            "location_update": fix_route(on_fix),
            "location_batch": route(commands.LocationBatch, on_batch),
        }
        table = RouteTable([AudienceRoutes("rider", None, routes)])
        self.fast_path = FastPath(
            cast("Session", self), table.sync_routes("/rider"), CommandRunner(clock), load_shedder
        )

    def on_activity(self) -> None:
        """Count what shows that the app is there besides handled fixes."""
        self.activity_count += 1

    def receive(self, *texts: str) -> None:
        """Receive packets as a connection does: fast path first, then the slow one."""
        for text in texts:
            if not self.fast_path.try_run(text):
                self.connection.run_slow_path(text)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def load_shedder(clock: ManualClock) -> LoadShedder:
    return LoadShedder(clock)


@pytest.fixture
def socket(load_shedder: LoadShedder, clock: ManualClock) -> SocketHarness:
    return SocketHarness(load_shedder, clock)


def fix(seq: int) -> str:
    """Encode the packet of a fix."""
    return f'42/rider,["location_update",{{"lat":4,"lng":9,"seq":{seq}}}]'


BATCH = '42/rider,["location_batch",{"fixes":[{"lat":4,"lng":9,"seq":50}]}]'


async def test_known_commands_are_run_in_any_alternation(socket: SocketHarness):
    """Each packet runs its own command, though the last one's route is kept."""
    socket.receive(fix(1), fix(2), BATCH, fix(3))
    assert (socket.handled, socket.connection.slow_packets) == ([1, 2, [50], 3], [])


@pytest.mark.parametrize(
    "packet",
    [
        "3",
        "",
        '42/rider,["pick_up",{"orderId":"ord_1"}]',
        '42/rider,7["location_update",{"lat":4,"lng":9}]',
        '42/rider,["location_update",{"lat":4,"lng":9},1]',
        '42/rider,["location_update",{"lat":4,"lng":9}',
        '42/rider,["location_update",{"lat":"4","lng":9}]',
        '42/rider,["location_update"]',
        '42/rider,[ "location_update",{"lat":4,"lng":9}]',
        '42/user,["location_update",{"lat":4,"lng":9}]',
        '42/rider,["location_update",' + "[" * 5_000 + "]",
    ],
)
async def test_other_frames_are_left_to_the_parser(socket: SocketHarness, packet: str):
    """Nothing is run and nothing is counted against the client."""
    socket.receive(fix(1), packet)
    assert (socket.handled, socket.connection.slow_packets) == ([1], [packet])
    assert socket.connection.violations == 0


async def test_fixes_above_the_rate_limit_are_violations(
    load_shedder: LoadShedder, clock: ManualClock
):
    """They are not handled, and each is counted."""
    socket = SocketHarness(load_shedder, clock, fixes_per_s=10.0)
    socket.receive(*(fix(seq) for seq in range(31)))
    assert (socket.handled, socket.connection.violations) == (list(range(10)), 21)


async def test_under_load_only_the_newest_fix_is_handled(
    load_shedder: LoadShedder, clock: ManualClock
):
    """Of many fixes that came at once one is handled, in the next tick; the others are counted."""
    socket, other = SocketHarness(load_shedder, clock), SocketHarness(load_shedder, clock)
    dropped = metrics.FIXES_DROPPED.labels("coalesced")
    dropped_before, received_before = _value(dropped), _value(metrics.FIXES_RECEIVED)
    load_shedder.record_lag(LAG_S)

    socket.receive(fix(1), fix(2), fix(3))
    other.receive(fix(7))
    assert (socket.handled, other.handled) == ([], [])
    await asyncio.sleep(0)

    assert (socket.handled, other.handled) == ([3], [7])
    load_shedder.record_lag(NO_LAG_S)
    assert _value(dropped) - dropped_before == 2
    assert _value(metrics.FIXES_RECEIVED) - received_before == 2


def _value(counter: Any) -> float:
    [family] = counter.collect()
    return next(each.value for each in family.samples if each.name.endswith("_total"))


async def test_without_lag_nothing_waits(
    socket: SocketHarness, load_shedder: LoadShedder, clock: ManualClock
):
    """Every fix is handled at once, before load is shed and after it."""
    load_shedder.record_lag(NO_LAG_S)
    socket.receive(fix(1), fix(2))
    assert socket.handled == [1, 2]

    load_shedder.record_lag(LAG_S)
    socket.receive(fix(3))
    clock.advance(int(RECOVERY_S * 1000) + 1)
    load_shedder.record_lag(NO_LAG_S)
    assert socket.handled == [1, 2, 3]
    socket.receive(fix(4), fix(5))
    assert socket.handled == [1, 2, 3, 4, 5]


async def test_a_command_is_handled_after_the_fix_before_it(
    socket: SocketHarness, load_shedder: LoadShedder
):
    """Any other packet first runs the fix that is held, so that packets keep their order."""
    load_shedder.record_lag(LAG_S)
    socket.receive(fix(1), BATCH, fix(2), "3")
    assert (socket.handled, socket.connection.slow_packets) == ([1, [50], 2], ["3"])
    socket.receive(fix(3))
    await asyncio.sleep(0)
    assert socket.handled == [1, [50], 2, 3]


async def test_a_malformed_fix_takes_the_slow_path(
    socket: SocketHarness, load_shedder: LoadShedder
):
    """Under load too its refusal comes from the parser's path."""
    load_shedder.record_lag(LAG_S)
    malformed = '42/rider,["location_update",{"lat":"north"}]'
    socket.receive(malformed)
    await asyncio.sleep(0)
    assert (socket.handled, socket.connection.slow_packets) == ([], [malformed])


async def test_coalesced_fixes_count_towards_the_rate_limit(
    load_shedder: LoadShedder, clock: ManualClock
):
    """Of 31 fixes with a burst of 10, 30 are replaced, and 20 of those are violations."""
    socket = SocketHarness(load_shedder, clock, fixes_per_s=10.0)
    load_shedder.record_lag(LAG_S)
    socket.receive(*(fix(seq) for seq in range(31)))
    assert socket.connection.violations == 20


async def test_the_held_fix_of_a_closed_socket_is_dropped(
    socket: SocketHarness, load_shedder: LoadShedder
):
    """Nothing is handled after a connection's end."""
    load_shedder.record_lag(LAG_S)
    socket.receive(fix(1))
    socket.connection.closed = True
    await asyncio.sleep(0)
    assert (socket.handled, socket.connection.slow_packets) == ([], [])
