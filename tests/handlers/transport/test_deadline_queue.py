"""Timeouts expire in order, never early, and independently of each other."""

import asyncio

from handlers.transport.deadline_queue import DeadlineQueue
from tests.waiting import Until

WAIT_S = 0.1


class Case:
    """Timeouts of a tenth of a second, and the keys that have expired."""

    def __init__(self) -> None:
        self.expired: list[str] = []
        self.deadlines = DeadlineQueue(WAIT_S, self._on_due)

    def _on_due(self, key: str) -> None:
        self.expired.append(key)
        assert key != "bug", "an error in a callback"


async def test_a_deadline_expires_after_its_time_and_never_before():
    """The callback comes when the loop's time has passed the deadline, and the key is removed."""
    case, loop = Case(), asyncio.get_running_loop()
    started_s = loop.time()
    case.deadlines.start("a")
    await Until().true(lambda: case.expired == ["a"])
    assert loop.time() - started_s >= WAIT_S
    assert len(case.deadlines) == 0


async def test_deadlines_expire_in_start_order():
    """A key that is started again waits its whole time again."""
    case = Case()
    for key in ("a", "b", "c", "a"):
        case.deadlines.start(key)
    await Until().true(lambda: len(case.expired) == 3)
    assert case.expired == ["b", "c", "a"]


async def test_a_cancelled_deadline_does_not_expire():
    """Cancelling twice is harmless, and other keys expire."""
    case = Case()
    case.deadlines.start("a")
    case.deadlines.start("b")
    case.deadlines.cancel("a")
    case.deadlines.cancel("a")
    await Until().true(lambda: bool(case.expired))
    assert case.expired == ["b"]


async def test_a_deadline_started_on_an_empty_queue_expires():
    """The timer is set again after the queue was empty, by cancelling or by expiry."""
    case = Case()
    case.deadlines.start("a")
    case.deadlines.cancel("a")
    case.deadlines.start("b")
    await Until().true(lambda: case.expired == ["b"])
    case.deadlines.start("c")
    await Until().true(lambda: len(case.expired) == 2)
    assert case.expired == ["b", "c"]


async def test_a_key_may_start_again_when_it_expires():
    """A socket that has been pinged waits for its pong in the same way."""
    expired: list[str] = []

    def restart(key: str) -> None:
        expired.append(key)
        deadlines.start(key)

    deadlines = DeadlineQueue[str](WAIT_S / 10, restart)
    deadlines.start("a")
    await Until().true(lambda: len(expired) >= 3)
    deadlines.cancel("a")
    assert (set(expired), len(deadlines)) == ({"a"}, 0)


async def test_a_failing_callback_does_not_stop_the_other_deadlines():
    """The event loop reports the error once; the next key expires."""
    case, reported = Case(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    for key in ("bug", "a"):
        case.deadlines.start(key)
    await Until().true(lambda: case.expired == ["bug", "a"])
    asyncio.get_running_loop().set_exception_handler(None)
    assert len(reported) == 1
