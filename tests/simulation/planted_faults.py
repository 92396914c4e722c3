"""Bugs that can be planted into the product, to see that the auditor finds them."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from typing import Any
from unittest import mock

from msgspec.structs import replace

from dispatch.events.inbox import Inboxes
from dispatch.events.outbox import Outbox
from dispatch.orders.unit_of_work import Carried, Clerk

# How long the early answer is ahead of its write.
EARLY_S = 0.4


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Run with one of the bugs in the product, or with none."""
    with ExitStack() as stack:
        for owner, what, wrong in PLANTS[name]() if name else ():
            stack.enter_context(mock.patch.object(owner, what, wrong))
        yield


Swap = tuple[Any, str, Any]


def _ack_before_write() -> list[Swap]:
    """The answer goes out while the write is still to come."""
    commit, kept = Clerk._commit, set[Any]()

    async def late(clerk: Clerk, *what: Any) -> None:
        await asyncio.sleep(EARLY_S)
        with suppress(Exception):
            await commit(clerk, *what)

    async def early(clerk: Clerk, *what: Any) -> Carried:
        (_, step), (_, answer) = what[2], what[3]
        task = asyncio.create_task(late(clerk, *what))
        kept.add(task)
        task.add_done_callback(kept.discard)
        return Carried(answer=answer, order=step.order, step=step)

    return [(Clerk, "_commit", early)]


def _outbox_forgets() -> list[Swap]:
    """One entry of nine is deleted and was delivered to nobody."""
    tell, turns = Outbox._tell, count(1)

    async def forgetful(outbox: Outbox, entries: Any) -> None:
        await tell(outbox, [each for each in entries if next(turns) % 9])

    return [(Outbox, "_tell", forgetful)]


def _resume_skips() -> list[Swap]:
    """The first event that was missed is left out of the replay."""
    since = Inboxes.since

    async def shortened(inboxes: Inboxes, owner: str, epoch: str, seq: int) -> Any:
        found = await since(inboxes, owner, epoch, seq)
        return found[1:] if found else found

    return [(Inboxes, "since", shortened)]


def _repeats_count() -> list[Swap]:
    """A repeated request is carried out again."""
    bring_in = Clerk.bring_in

    async def again(clerk: Clerk, caller: Any, *what: Any) -> Any:
        return await bring_in(clerk, replace(caller, receipt=None), *what)

    async def never(_clerk: Clerk, _caller: Any) -> None:
        return None

    return [(Clerk, "bring_in", again), (Clerk, "repeat_of", never)]


PLANTS: dict[str, Callable[[], list[Swap]]] = {
    "ack-before-write": _ack_before_write,
    "outbox-forgets": _outbox_forgets,
    "resume-skips": _resume_skips,
    "repeats-count": _repeats_count,
}
