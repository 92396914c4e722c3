"""Bugs that can be planted into the product, to test that the auditor finds them."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from typing import Any
from unittest import mock

from msgspec.structs import replace

from dispatch.events.inbox import Inboxes
from dispatch.events.outbox import Outbox
from dispatch.model import RiderPresence
from dispatch.orders.unit_of_work import Committed, OrderUnitOfWork, PreparedCommit
from dispatch.tracking.stores.positions import Positions

# How long the early answer precedes its write.
EARLY_ANSWER_S = 0.4


@contextmanager
def planted_bug(name: str | None) -> Iterator[None]:
    """Inside the block the product has the named bug; None plants nothing."""
    with ExitStack() as stack:
        for owner, attribute, replacement in PLANTED_BUGS[name]() if name else ():
            stack.enter_context(mock.patch.object(owner, attribute, replacement))
        yield


Patch = tuple[Any, str, Any]


def _ack_before_write() -> list[Patch]:
    """The answer is sent before the write."""
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
    """Every ninth outbox entry is deleted without having been published."""
    publish, numbers = Outbox._publish, count(1)

    async def publish_most(outbox: Outbox, entries: Any) -> None:
        await publish(outbox, [entry for entry in entries if next(numbers) % 9])

    return [(Outbox, "_publish", publish_most)]


def _resume_skips_first() -> list[Patch]:
    """The first missed event is left out of a resume."""
    events_after = Inboxes.events_after

    async def skip_first(inboxes: Inboxes, owner: str, epoch: str, seq: int) -> Any:
        events = await events_after(inboxes, owner, epoch, seq)
        return events[1:] if events else events

    return [(Inboxes, "events_after", skip_first)]


def _repeats_run_again() -> list[Patch]:
    """A repeated request is executed again."""
    commit_new = OrderUnitOfWork.commit_new

    async def commit_without_key(
        unit_of_work: OrderUnitOfWork, caller: Any, *arguments: Any
    ) -> Any:
        return await commit_new(unit_of_work, replace(caller, request_key=None), *arguments)

    async def find_nothing(_unit_of_work: OrderUnitOfWork, _caller: Any) -> None:
        return None

    return [
        (OrderUnitOfWork, "commit_new", commit_without_key),
        (OrderUnitOfWork, "find_first_answer", find_nothing),
    ]


def _only_positions_count() -> list[Patch]:
    """A rider whose fixes cannot be used counts as silent."""
    presence = Positions.presence

    async def position_only(positions: Positions, rider_id: str) -> RiderPresence:
        return replace(await presence(positions, rider_id), last=None)

    return [(Positions, "presence", position_only)]


PLANTED_BUGS: dict[str, Callable[[], list[Patch]]] = {
    "ack-before-write": _ack_before_write,
    "outbox-drops-entries": _outbox_drops_entries,
    "resume-skips": _resume_skips_first,
    "repeats-run-again": _repeats_run_again,
    "only-positions-count": _only_positions_count,
}
