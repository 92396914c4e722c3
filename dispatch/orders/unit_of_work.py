"""Carries a decided step into the table: one conditional write with everything that belongs to it.

Step 3 of an order's way: machine decides -> [here] writes once, retries when outrun -> outbox.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import structlog
from msgspec.structs import replace

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.events.idempotency_records import Receipt, Receipts, first_answer, write_receipt
from dispatch.events.operations_board import Line
from dispatch.events.outbox import (
    Entry,
    Outbox,
    Saying,
    new_entry_id,
    write_entry,
)
from dispatch.keys import identity
from dispatch.model import Course, Order, OrderStatus, course_of
from dispatch.orders.store import (
    Clause,
    Orders,
    change,
    from_item,
    insert,
    order_key,
    owned_by,
)
from dispatch.orders.transitions.context import Ask, Step
from dispatch.orders.transitions.state_machine import decide
from dispatch.orders.transitions.waves import wants_engine
from dispatch.storage.dynamodb_errors import answering
from dispatch.wire import frames
from dispatch.wire.snapshots import brief, order_dot
from ledger.core.facts import Fact
from ledger.core.order_funds import Fin
from ledger.dynamodb.table import (
    Item,
    Table,
    TableUnavailable,
    TransactionCancelled,
    Write,
)
from ledger.posting.ledger import GuardFailed, Ledger, LedgerRefused
from ledger.posting.locks import Locks

# Each attempt loses only to another step of the same order, and a wave holds few riders.
ATTEMPTS = 12

# What the node that holds a rider's sockets must know of his hands, and where they take him.
DUTY = "duty"
# What the node of an order's rider still has of its trail when the order ends is in Redis by then.
# Source: the drain flushes every 40 ms, and is back within 2 s of Redis.
TRAIL_WHOLE_MS = 5_000

log = structlog.get_logger(__name__)


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and under which name he may repeat it; `audience` as in orders.step.Actor."""

    audience: str
    id: str
    receipt: Receipt | None = None


ENGINE = Caller(audience="engine", id="engine")


class Extra(NamedTuple):
    """A further write of a step, and what it means when its condition fails."""

    write: Write
    refusal: Refused


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into a step's transaction besides the order, its saying and the receipt."""

    extras: Sequence[Extra] = ()
    fact: Fact | None = None
    # The order's money as the order itself tells it; the ledger checks it by its condition.
    believed: Fin | None = None
    clause: Clause | None = None
    # What the caller is told, now and when he repeats himself; None tells him the order in brief.
    answer: object = None


# Finds out what else a step writes, from the order as it was read.
Planner = Callable[[Order, Step], Awaitable[Plan]]
# Finds out what a step must know, from the order as it was read.
Asker = Callable[[Order], Awaitable[Ask]]


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """A step that is written; `order` is None where a repeat got its first `answer` again."""

    answer: Any
    order: Order | None = None
    step: Step | None = None


class _Outrun(Exception):
    """The order has changed since it was read."""


class _Repeated(Exception):
    """The same command was carried out meanwhile."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer


class Clerk:
    """Writes steps."""

    def __init__(self, table: Table, ledger: Ledger, outbox: Outbox, clock: Clock) -> None:
        self._table = table
        self._orders = Orders(table)
        self._receipts = Receipts(table)
        self._ledger = ledger
        self._outbox = outbox
        self._clock = clock
        self._turns = Locks()

    async def carry(
        self,
        caller: Caller,
        order_id: str,
        asker: Ask | Asker,
        plan: Planner,
        known: Order | None = None,
    ) -> Carried:
        """Load, decide and write one step of an order; start again when somebody was faster.

        Whoever has just read the order hands it over as `known`, and it is not read again unless
        it has changed since: the write asks for its version.

        Steps of one order take turns on this node: were they to race, all but one would have to
        start again, each with a transaction for nothing.

        Errors: Refused by the machine, the money or an extra write; StoreUnavailable.
        """
        assert known is None or caller.receipt is None, "a repeat is known by its receipt"
        async with self._turns.hold((order_id,)):
            return await self._carry(caller, order_id, asker, plan, known)

    async def _carry(
        self,
        caller: Caller,
        order_id: str,
        asker: Ask | Asker,
        plan: Planner,
        known: Order | None,
    ) -> Carried:
        for _ in range(ATTEMPTS):
            try:
                # Inside: what is not there takes the same way as what is somebody else's.
                first, order = await self._look_up(caller, order_id, known)
                known = None
                if first is not None:
                    return Carried(answer=first)
                ask = asker if isinstance(asker, Ask) else await asker(order)
                step = decide(order, replace(ask, now_ms=self._clock.now_ms()))
                if step.order is order:
                    return Carried(answer=brief(order), order=order, step=step)
                return await self._write(caller, order, step, await plan(order, step))
            except _Outrun:
                continue
            except _Repeated as repeated:
                return Carried(answer=repeated.answer)
            except Refused:
                return await self._unless_repeated(caller)
        raise StoreUnavailable(
            "dynamodb", f"order {order_id} changes faster than it can be written"
        )

    async def bring_in(self, caller: Caller, step: Step, plan: Plan, answer: object) -> Carried:
        """Write a new order.

        Errors: Refused by the money or an extra write; StoreUnavailable.
        """
        assert step.order.version == 1, "a new order enters at its first version"
        try:
            return await self._commit(caller, insert(step.order), (None, step), (plan, answer))
        except _Repeated as repeated:
            return Carried(answer=repeated.answer)
        except Refused:
            return await self._unless_repeated(caller)
        except _Outrun as error:
            raise Refused(Refusal.CONFLICT, "this order exists already") from error

    async def _unless_repeated(self, caller: Caller) -> Carried:
        """Answer a refusal: a copy of the same command that ran beside may have been the reason.

        Errors: the Refused that is being handled, where there was no such copy.
        """
        if (first := await self.repeat_of(caller)) is None:
            raise  # noqa: PLE0704 (called from an except block)
        return Carried(answer=first)

    async def repeat_of(self, caller: Caller) -> Any | None:
        """The first answer to a command that was carried out before."""
        with answering():
            return await self._receipts.find(caller.receipt)

    async def load(self, order_id: str) -> Order:
        """One order.

        Errors: Refused NOT_FOUND; StoreUnavailable.
        """
        with answering():
            return _found(order_id, await self._orders.get(order_id))

    async def _look_up(
        self, caller: Caller, order_id: str, known: Order | None
    ) -> tuple[Any | None, Order]:
        """The first answer where this is a repeat, and the order.

        Errors: Refused NOT_FOUND, or CONFLICT for another command of the same name;
        StoreUnavailable.
        DynamoDB: one BatchGetItem, or one GetItem where the command has no name; none where the
        order is known.
        """
        if known is not None:
            return None, known
        if caller.receipt is None:
            return None, await self.load(order_id)
        with answering():
            order, item = await self._table.get_many([order_key(order_id), caller.receipt.key])
        first = None if item is None else first_answer(caller.receipt, item)
        return first, _found(order_id, from_item(order) if order else None)

    async def _write(self, caller: Caller, before: Order, step: Step, plan: Plan) -> Carried:
        clause = plan.clause
        if clause is None and caller.audience in ("user", "vendor", "rider"):
            clause = owned_by(caller.audience, caller.id)
        write = change(before, step.order, clause)
        answer = brief(step.order) if plan.answer is None else plan.answer
        return await self._commit(caller, write, (before, step), (plan, answer))

    async def _commit(
        self,
        caller: Caller,
        order_write: Write,
        change_: tuple[Order | None, Step],
        with_: tuple[Plan, object],
    ) -> Carried:
        (before, step), (plan, answer) = change_, with_
        entry = entry_for(before, step, self._clock.now_ms())
        writes = [order_write, write_entry(entry)]
        if caller.receipt is not None:
            writes.append(write_receipt(caller.receipt, answer, entry.at_ms))
        first_extra = len(writes)
        writes.extend(extra.write for extra in plan.extras)
        try:
            await self._transact(plan, writes)
        except GuardFailed as failed:
            raise _meaning(caller, failed, first_extra, plan) from failed
        self._outbox.hand_over(entry)
        _count(before, step.order)
        return Carried(answer=answer, order=step.order, step=step)

    async def _transact(self, plan: Plan, writes: Sequence[Write]) -> None:
        """One transaction, through the ledger where money moves.

        Errors: GuardFailed with the first failed write; Refused for the money; StoreUnavailable.
        """
        try:
            if plan.fact is None:
                await self._table.transact(writes)
                return
            posted = await self._ledger.post(plan.fact, writes, plan.believed)
        except TransactionCancelled as cancelled:
            position = cancelled.failed()[0]
            raise GuardFailed(position, cancelled.reasons[position].item) from cancelled
        except LedgerRefused as refused:
            raise Refused(_MONEY[refused.code], refused.message) from refused
        except TableUnavailable as error:
            raise StoreUnavailable("dynamodb", str(error)) from error
        if posted.replayed:
            # Somebody else posted this very fact, with his own write of the order beside it.
            raise GuardFailed(0, None)


def _found(order_id: str, order: Order | None) -> Order:
    if order is None:
        raise Refused(Refusal.NOT_FOUND, f"there is no order {order_id} of yours")
    return order


_MONEY = {
    "insufficient_funds": Refusal.INSUFFICIENT_FUNDS,
    "frozen": Refusal.FORBIDDEN,
    "conflict": Refusal.CONFLICT,
    "wrong_state": Refusal.WRONG_STATE,
    "not_found": Refusal.NOT_FOUND,
}


def _meaning(caller: Caller, failed: GuardFailed, first_extra: int, plan: Plan) -> Exception:
    """What a failed condition says to the caller; writes stand in the order of `_commit`."""
    if failed.position >= first_extra:
        return plan.extras[failed.position - first_extra].refusal
    if failed.position == first_extra - 1 and caller.receipt is not None:
        return _first(caller.receipt, failed.item)
    return _Outrun()


def _first(receipt: Receipt, item: Item | None) -> Exception:
    if item is None:
        return _Outrun()
    try:
        return _Repeated(first_answer(receipt, item))
    except Refused as refused:
        return refused


def entry_for(before: Order | None, step: Step, now_ms: int) -> Entry:
    """What is to be told and timed once the step is written."""
    after = step.order
    says = [Saying(s.to, s.event.event, frames.body(s.event).decode()) for s in step.says]
    says.extend(_duties(before, step))
    return Entry(
        entry_id=new_entry_id(),
        order_id=after.order_id,
        at_ms=now_ms,
        says=tuple(says),
        line=Line(order_dot(after), ended=after.is_terminal),
        due_at_ms=_due(before, after),
        tally=_tally(before, step),
        trail_due_ms=now_ms + TRAIL_WHOLE_MS if _has_trail(step) else None,
    )


class Duty(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A rider takes an order up, goes on with it, or puts it down."""

    order_id: str
    carries: bool
    course: Course | None = None


def _duties(before: Order | None, step: Step) -> Iterator[Saying]:
    after, course = step.order, course_of(step.order)
    if step.frees is not None:
        yield _duty(step.frees, Duty(order_id=after.order_id, carries=False))
    elif course is not None and (before is None or course != course_of(before)):
        assert after.rider_id is not None, "a course is a rider's"
        yield _duty(after.rider_id, Duty(order_id=after.order_id, carries=True, course=course))


def _duty(rider: str, duty: Duty) -> Saying:
    body = msgspec.json.encode(duty).decode()
    return Saying(identity("rider", rider), DUTY, body, kept=False)


def _has_trail(step: Step) -> bool:
    """Whether the step ends the way of a rider with the order, and not only his part in it."""
    is_over = step.order.status in (OrderStatus.DELIVERED, OrderStatus.CANCELLED)
    return is_over and step.frees is not None


def _due(before: Order | None, after: Order) -> int | None:
    if after.dispatch is not None and wants_engine(after):
        return after.dispatch.due_at_ms
    # The engine looks a last time and lets go of the riders it had asked.
    wanted = before is not None and wants_engine(before)
    return after.updated_at if wanted else None


_TALLY = {
    OrderStatus.DELIVERED: "ordersDelivered",
    OrderStatus.CANCELLED: "ordersCancelled",
    OrderStatus.REJECTED: "ordersCancelled",
}


def _tally(before: Order | None, step: Step) -> dict[str, int]:
    after = step.order
    offers = sum(said.event.event == "delivery_request" for said in step.says)
    tally = {"offersMade": offers} if offers else {}
    if before is None:
        return {**tally, "ordersPlaced": 1}
    if before.status is after.status:
        return tally
    if after.status is OrderStatus.FUNDS_DISTRIBUTED:
        tally["settledXaf"] = after.pricing.total
    elif after.status in _TALLY:
        tally[_TALLY[after.status]] = 1
    return tally


def _count(before: Order | None, after: Order) -> None:
    if before is None or before.status is not after.status:
        metrics.ORDER_TRANSITIONS.labels(after.order_type, after.status.value).inc()
