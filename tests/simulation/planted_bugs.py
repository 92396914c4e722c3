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
from dispatch.orders.unit_of_work import Committed, OrderUnitOfWork, PreparedCommit

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
    write, tasks = OrderUnitOfWork.write, set[Any]()

    async def write_late(unit_of_work: OrderUnitOfWork, prepared: PreparedCommit) -> None:
        await asyncio.sleep(EARLY_ANSWER_S)
        with suppress(Exception):
            await write(unit_of_work, prepared)

    async def answer_early(unit_of_work: OrderUnitOfWork, prepared: PreparedCommit) -> Committed:
        task = asyncio.create_task(write_late(unit_of_work, prepared))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        transition = prepared.transition
        return Committed(answer=prepared.answer, order=transition.order, transition=transition)

    return [(OrderUnitOfWork, "write", answer_early)]


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
    commit_new = OrderUnitOfWork.commit_new

    async def again(unit_of_work: OrderUnitOfWork, caller: Any, *arguments: Any) -> Any:
        return await commit_new(unit_of_work, replace(caller, request_key=None), *arguments)

    async def never(_unit_of_work: OrderUnitOfWork, _caller: Any) -> None:
        return None

    return [(OrderUnitOfWork, "commit_new", again), (OrderUnitOfWork, "find_first_answer", never)]


PLANTED_BUGS: dict[str, Callable[[], list[Patch]]] = {
    "ack-before-write": _ack_before_write,
    "outbox-forgets": _outbox_drops_entries,
    "resume-skips": _resume_skips_first,
    "repeats-count": _repeats_run_again,
}
