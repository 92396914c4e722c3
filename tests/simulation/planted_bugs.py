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
from dispatch.orders.unit_of_work import Committed, OrderUnitOfWork

# How long the early answer is ahead of its write.
EARLY_ANSWER_S = 0.4


@contextmanager
def planted_bug(name: str | None) -> Iterator[None]:
    """Run with one of the bugs in the product, or with none."""
    with ExitStack() as stack:
        for owner, what, wrong in PLANTED_BUGS[name]() if name else ():
            stack.enter_context(mock.patch.object(owner, what, wrong))
        yield


Patch = tuple[Any, str, Any]


def _ack_before_write() -> list[Patch]:
    """The answer goes out while the write is still to come."""
    commit, kept = OrderUnitOfWork._commit_writes, set[Any]()

    async def late(clerk: OrderUnitOfWork, *what: Any) -> None:
        await asyncio.sleep(EARLY_ANSWER_S)
        with suppress(Exception):
            await commit(clerk, *what)

    async def early(clerk: OrderUnitOfWork, *what: Any) -> Committed:
        (_, step), (_, answer) = what[2], what[3]
        task = asyncio.create_task(late(clerk, *what))
        kept.add(task)
        task.add_done_callback(kept.discard)
        return Committed(answer=answer, order=step.order, transition=step)

    return [(OrderUnitOfWork, "_commit_writes", early)]


def _outbox_drops_entries() -> list[Patch]:
    """One entry of nine is deleted and was delivered to nobody."""
    tell, turns = Outbox._publish, count(1)

    async def forgetful(outbox: Outbox, entries: Any) -> None:
        await tell(outbox, [each for each in entries if next(turns) % 9])

    return [(Outbox, "_publish", forgetful)]


def _resume_skips_first() -> list[Patch]:
    """The first event that was missed is left out of the replay."""
    since = Inboxes.events_after

    async def shortened(inboxes: Inboxes, owner: str, epoch: str, seq: int) -> Any:
        found = await since(inboxes, owner, epoch, seq)
        return found[1:] if found else found

    return [(Inboxes, "events_after", shortened)]


def _repeats_run_again() -> list[Patch]:
    """A repeated request is carried out again."""
    bring_in = OrderUnitOfWork.commit_new

    async def again(clerk: OrderUnitOfWork, caller: Any, *what: Any) -> Any:
        return await bring_in(clerk, replace(caller, request_key=None), *what)

    async def never(_clerk: OrderUnitOfWork, _caller: Any) -> None:
        return None

    return [(OrderUnitOfWork, "commit_new", again), (OrderUnitOfWork, "find_first_answer", never)]


PLANTED_BUGS: dict[str, Callable[[], list[Patch]]] = {
    "ack-before-write": _ack_before_write,
    "outbox-forgets": _outbox_drops_entries,
    "resume-skips": _resume_skips_first,
    "repeats-count": _repeats_run_again,
}
