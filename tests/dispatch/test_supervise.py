"""Supervisor: crashed loops are restarted, counted and logged; all loops stop in order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Never

import pytest
from structlog.testing import capture_logs

from dispatch import metrics
from dispatch.clock import ManualClock
from dispatch.supervise import BACKOFF_S_MAX, BACKOFF_S_MIN, HEALTHY_S, Supervisor
from tests.metric_values import metric_value
from tests.waiting import Until


class Pauses:
    """Records pauses and advances the clock by them instead of sleeping."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.clock.advance(int(seconds * 1000))


def crashing(times: int, done: asyncio.Event) -> Callable[[], Awaitable[None]]:
    """A loop that raises `times` times, then sets `done` and returns."""
    remaining = iter(range(times))

    async def loop() -> None:
        for number in remaining:
            raise RuntimeError(f"crash {number}")
        done.set()

    return loop


async def clean_up(name: str) -> None:
    """A clean-up that yields to the event loop a few times."""
    for letter in name:
        await asyncio.get_running_loop().run_in_executor(None, str, letter)


def crashes(name: str) -> float:
    return metric_value(metrics.LOOP_CRASHES.labels(name))


@pytest.fixture
def pauses(clock: ManualClock) -> Pauses:
    return Pauses(clock)


@pytest.fixture
def supervisor(clock: ManualClock, pauses: Pauses) -> Supervisor:
    return Supervisor(clock.monotonic_s, pauses)


async def test_crashed_loop_is_restarted(supervisor: Supervisor, pauses: Pauses):
    """A loop that crashes in a row is restarted after a pause that doubles each time."""
    done = asyncio.Event()
    supervisor.spawn("flaky", crashing(3, done))
    await done.wait()
    assert pauses.seconds == [BACKOFF_S_MIN, BACKOFF_S_MIN * 2, BACKOFF_S_MIN * 4]


async def test_pauses_have_an_upper_bound(supervisor: Supervisor, pauses: Pauses):
    """A loop that always crashes is restarted at least every two seconds."""
    done = asyncio.Event()
    supervisor.spawn("broken", crashing(12, done))
    await done.wait()
    assert max(pauses.seconds) == pauses.seconds[-1] == BACKOFF_S_MAX


async def test_backoff_resets_after_a_healthy_run(
    supervisor: Supervisor, pauses: Pauses, clock: ManualClock
):
    """A crash after ten healthy seconds is followed by the shortest pause again."""
    done = asyncio.Event()
    lifetimes_ms = iter([0, 0, int(HEALTHY_S * 1000)])

    async def loop() -> None:
        for lived_ms in lifetimes_ms:
            clock.advance(lived_ms)
            raise RuntimeError("gone")
        done.set()

    supervisor.spawn("recovering", loop)
    await done.wait()
    assert pauses.seconds == [BACKOFF_S_MIN, BACKOFF_S_MIN * 2, BACKOFF_S_MIN]


async def test_crash_is_counted_and_logged(supervisor: Supervisor):
    """Each crash is counted by the loop's name and logged with its error."""
    done = asyncio.Event()
    before = crashes("crashing")
    with capture_logs() as logs:
        supervisor.spawn("crashing", crashing(2, done))
        await done.wait()
    assert crashes("crashing") - before == 2
    assert [(line["event"], line["loop"], line["log_level"]) for line in logs] == [
        ("loop_crashed", "crashing", "error"),
        ("loop_crashed", "crashing", "error"),
    ]
    assert all(line["exc_info"] for line in logs)


async def test_returning_loop_is_not_restarted(
    supervisor: Supervisor, pauses: Pauses, until: Until
):
    """A loop that returns is done: it is no longer running, and no pause follows."""

    async def loop() -> None:
        return

    supervisor.spawn("short", loop)
    await until.true(lambda: supervisor.names == ())
    assert pauses.seconds == []


async def test_loops_stop_in_reverse_order_of_their_start(supervisor: Supervisor):
    """The loop started last stops first, and the next is cancelled once it has cleaned up."""
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
    """A loop that is still running at the deadline is logged, and `stop` returns."""
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


async def test_crash_during_stop_is_not_restarted(supervisor: Supervisor, pauses: Pauses):
    """An error in a loop's clean-up is logged, and the loop is not restarted."""
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


async def test_cancelled_future_does_not_end_its_loop(supervisor: Supervisor, pauses: Pauses):
    """A loop whose awaited future is cancelled is restarted like one that crashed."""
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


async def test_name_of_a_running_loop_is_refused(supervisor: Supervisor):
    """Two running loops cannot share a name, which labels their metrics and logs."""

    async def loop() -> None:
        await asyncio.Event().wait()

    supervisor.spawn("one", loop)
    with pytest.raises(AssertionError, match="is running"):
        supervisor.spawn("one", loop)
    await supervisor.stop(1.0)
