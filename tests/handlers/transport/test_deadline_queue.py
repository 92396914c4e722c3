"""Who has waited long enough is told so, once, together with those whose time is up with his."""

import asyncio
import time

from handlers.transport.deadline_queue import GRAIN, Deadlines
from tests.waiting import Until

WAIT_S = 0.1


class Case:
    """Waits of a tenth of a second, and who was told of their end."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.waits = Deadlines(WAIT_S, self._tell)

    def _tell(self, who: str) -> None:
        self.told.append(who)
        assert who != "bug", "this is what a bug of ours looks like"


async def test_a_wait_ends_after_its_time_and_never_before():
    """A ping that came early would cost, one that came late would let a dead socket live."""
    case, began_s = Case(), time.monotonic()
    case.waits.begin("a")
    await Until().true(lambda: case.told == ["a"])
    assert time.monotonic() - began_s >= WAIT_S * (1 - GRAIN)
    assert len(case.waits) == 0


async def test_they_end_in_the_order_in_which_they_began():
    """Whoever begins anew waits his whole time again."""
    case = Case()
    for who in ("a", "b", "c", "a"):
        case.waits.begin(who)
    await Until().true(lambda: len(case.told) == 3)
    assert case.told == ["b", "c", "a"]


async def test_who_waits_no_more_is_not_told():
    """Ending twice is as good as once."""
    case = Case()
    case.waits.begin("a")
    case.waits.begin("b")
    case.waits.end("a")
    case.waits.end("a")
    await Until().true(lambda: bool(case.told))
    assert case.told == ["b"]


async def test_a_wait_that_begins_after_all_have_ended_ends_too():
    """The timer is set again."""
    case = Case()
    case.waits.begin("a")
    case.waits.end("a")
    case.waits.begin("b")
    await Until().true(lambda: case.told == ["b"])
    case.waits.begin("c")
    await Until().true(lambda: len(case.told) == 2)
    assert case.told == ["b", "c"]


async def test_who_is_told_may_wait_again_at_once():
    """As a socket that was pinged waits for its pong."""
    told: list[str] = []
    waits = Deadlines[str](WAIT_S / 10, lambda who: (told.append(who), waits.begin(who)))
    waits.begin("a")
    await Until().true(lambda: len(told) >= 3)
    waits.end("a")
    assert (set(told), len(waits)) == ({"a"}, 0)


async def test_a_bug_at_one_end_does_not_stop_the_others():
    """The loop tells of it; everybody else's time runs out as it should."""
    case, complaints = Case(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, it: complaints.append(it))
    for who in ("bug", "a"):
        case.waits.begin(who)
    await Until().true(lambda: case.told == ["bug", "a"])
    assert len(complaints) == 1
