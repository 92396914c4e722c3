"""Who has waited long enough is told so, once, together with those whose time is up with his."""

import asyncio
import time

from handlers.transport.deadline_queue import TIMER_SLACK_RATIO, DeadlineQueue
from tests.waiting import Until

WAIT_S = 0.1


class Case:
    """Waits of a tenth of a second, and who was told of their end."""

    def __init__(self) -> None:
        self.expired: list[str] = []
        self.deadlines = DeadlineQueue(WAIT_S, self._on_due)

    def _on_due(self, key: str) -> None:
        self.expired.append(key)
        assert key != "bug", "this is what a bug of ours looks like"


async def test_a_deadline_expires_after_its_time_and_never_before():
    """A ping that came early would cost, one that came late would let a dead socket live."""
    case, began_s = Case(), time.monotonic()
    case.deadlines.start("a")
    await Until().true(lambda: case.expired == ["a"])
    assert time.monotonic() - began_s >= WAIT_S * (1 - TIMER_SLACK_RATIO)
    assert len(case.deadlines) == 0


async def test_deadlines_expire_in_start_order():
    """Whoever begins anew waits his whole time again."""
    case = Case()
    for who in ("a", "b", "c", "a"):
        case.deadlines.start(who)
    await Until().true(lambda: len(case.expired) == 3)
    assert case.expired == ["b", "c", "a"]


async def test_a_cancelled_deadline_does_not_expire():
    """Ending twice is as good as once."""
    case = Case()
    case.deadlines.start("a")
    case.deadlines.start("b")
    case.deadlines.cancel("a")
    case.deadlines.cancel("a")
    await Until().true(lambda: bool(case.expired))
    assert case.expired == ["b"]


async def test_a_deadline_started_on_an_empty_queue_expires():
    """The timer is set again."""
    case = Case()
    case.deadlines.start("a")
    case.deadlines.cancel("a")
    case.deadlines.start("b")
    await Until().true(lambda: case.expired == ["b"])
    case.deadlines.start("c")
    await Until().true(lambda: len(case.expired) == 2)
    assert case.expired == ["b", "c"]


async def test_a_key_may_start_again_when_it_expires():
    """As a socket that was pinged waits for its pong."""
    told: list[str] = []
    waits = DeadlineQueue[str](WAIT_S / 10, lambda who: (told.append(who), waits.start(who)))
    waits.start("a")
    await Until().true(lambda: len(told) >= 3)
    waits.cancel("a")
    assert (set(told), len(waits)) == ({"a"}, 0)


async def test_a_failing_callback_does_not_stop_the_other_deadlines():
    """The loop tells of it; everybody else's time runs out as it should."""
    case, complaints = Case(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, it: complaints.append(it))
    for who in ("bug", "a"):
        case.deadlines.start(who)
    await Until().true(lambda: case.expired == ["bug", "a"])
    assert len(complaints) == 1
