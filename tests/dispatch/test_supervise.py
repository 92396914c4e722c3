"""Loops come back after a crash, are heard of, and end in order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Never

import pytest
from structlog.testing import capture_logs

from dispatch import metrics
from dispatch.clock import ManualClock
from dispatch.supervise import BACKOFF_S_MAX, BACKOFF_S_MIN, HEALTHY_S, Supervisor


class Pauses:
    """Pauses that take no time, and how long they would have been."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.clock.advance(int(seconds * 1000))


def crashing(times: int, done: asyncio.Event) -> Callable[[], Awaitable[None]]:
    """A loop that fails so many times and then says that it is done."""
    left = iter(range(times))

    async def loop() -> None:
        for turn in left:
            raise RuntimeError(f"crash {turn}")
        done.set()

    return loop


async def clean_up(name: str) -> None:
    """A clean-up that gives way to the event loop a few times."""
    for turn in name:
        await asyncio.get_running_loop().run_in_executor(None, str, turn)


def crashes(name: str) -> float:
    return metrics.LOOP_CRASHES.labels(name)._value.get()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def pauses(clock: ManualClock) -> Pauses:
    return Pauses(clock)


@pytest.fixture
def supervisor(clock: ManualClock, pauses: Pauses) -> Supervisor:
    return Supervisor(clock.monotonic_s, pauses)


async def test_a_crashed_loop_comes_back(supervisor: Supervisor, pauses: Pauses):
    """A loop that fails is started again, each time after a longer pause."""
    done = asyncio.Event()
    supervisor.spawn("flaky", crashing(3, done))
    await done.wait()
    assert pauses.seconds == [BACKOFF_S_MIN, BACKOFF_S_MIN * 2, BACKOFF_S_MIN * 4]


async def test_pauses_have_an_upper_bound(supervisor: Supervisor, pauses: Pauses):
    """A loop that never works is tried again at least every two seconds."""
    done = asyncio.Event()
    supervisor.spawn("broken", crashing(12, done))
    await done.wait()
    assert max(pauses.seconds) == pauses.seconds[-1] == BACKOFF_S_MAX


async def test_backoff_resets_after_a_healthy_run(
    supervisor: Supervisor, pauses: Pauses, clock: ManualClock
):
    """A crash after a healthy while is the first of its kind and waits the shortest pause."""
    done = asyncio.Event()
    ways = iter([0, 0, int(HEALTHY_S * 1000)])

    async def loop() -> None:
        for lived_ms in ways:
            clock.advance(lived_ms)
            raise RuntimeError("gone")
        done.set()

    supervisor.spawn("recovering", loop)
    await done.wait()
    assert pauses.seconds == [BACKOFF_S_MIN, BACKOFF_S_MIN * 2, BACKOFF_S_MIN]


async def test_crash_is_counted_and_logged(supervisor: Supervisor):
    """Nobody has to guess why a loop failed: the series counts it and the log holds the error."""
    done = asyncio.Event()
    before = crashes("told")
    with capture_logs() as logs:
        supervisor.spawn("told", crashing(2, done))
        await done.wait()
    assert crashes("told") - before == 2
    assert [(line["event"], line["loop"], line["log_level"]) for line in logs] == [
        ("loop_crashed", "told", "error"),
        ("loop_crashed", "told", "error"),
    ]
    assert all(line["exc_info"] for line in logs)


async def test_a_loop_that_returns_is_done(supervisor: Supervisor, pauses: Pauses):
    """Returning is how a loop says that there is no more to do; it is not started again."""

    async def loop() -> None:
        return

    supervisor.spawn("short", loop)
    await asyncio.wait([supervisor._tasks["short"]])
    assert supervisor.names == ()
    assert pauses.seconds == []


async def test_loops_end_in_the_reverse_order_of_their_start(supervisor: Supervisor):
    """What was started last ends first, and nothing ends before its user has cleaned up."""
    ended: list[str] = []
    started = asyncio.Semaphore(0)

    def named(name: str) -> Callable[[], Awaitable[None]]:
        async def loop() -> None:
            started.release()
            try:
                await asyncio.Event().wait()
            finally:
                await clean_up(name)
                ended.append(name)

        return loop

    for name in ("stores", "outbox", "tick"):
        supervisor.spawn(name, named(name))
        await started.acquire()
    await supervisor.stop(1.0)
    assert ended == ["tick", "outbox", "stores"]


async def test_stop_keeps_its_deadline(clock: ManualClock):
    """A loop that will not end is named in the log, and the rest still ends."""
    supervisor = Supervisor(clock.monotonic_s)
    started, release = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await release.wait()

    supervisor.spawn("stubborn", stubborn)
    await started.wait()
    with capture_logs() as logs:
        await supervisor.stop(0.01)
    assert [(line["event"], line["loop"]) for line in logs] == [("loop_outlived_stop", "stubborn")]
    release.set()


async def test_a_loop_that_fails_while_it_ends_is_not_started_again(
    supervisor: Supervisor, pauses: Pauses
):
    """An error in a loop's clean-up is told, and the loop stays ended."""
    started = asyncio.Event()

    async def loop() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("could not clean up")

    supervisor.spawn("messy", loop)
    await started.wait()
    with capture_logs() as logs:
        await supervisor.stop(1.0)
    assert [line["event"] for line in logs] == ["loop_crashed"]
    assert (supervisor.names, pauses.seconds) == ((), [])


async def test_a_cancelled_wait_does_not_end_its_loop(supervisor: Supervisor, pauses: Pauses):
    """When something that a loop waits for is cancelled, the loop itself lives on."""
    done = asyncio.Event()
    cancelled: asyncio.Future[Never] = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    waits = iter([cancelled])

    async def loop() -> None:
        for wait in waits:
            await wait
        done.set()

    supervisor.spawn("waiting", loop)
    await done.wait()
    assert pauses.seconds == [BACKOFF_S_MIN]


async def test_two_loops_may_not_share_a_name(supervisor: Supervisor):
    """A name stands for one living loop, so that its series and its log mean one thing."""

    async def loop() -> None:
        await asyncio.Event().wait()

    supervisor.spawn("one", loop)
    with pytest.raises(AssertionError, match="runs already"):
        supervisor.spawn("one", loop)
    await supervisor.stop(1.0)
