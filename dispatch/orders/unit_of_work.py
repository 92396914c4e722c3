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
from dispatch.events.idempotency_records import (
    IdempotencyRecords,
    RequestKey,
    first_answer,
    write_record,
)
from dispatch.events.operations_board import BoardLine
from dispatch.events.outbox import (
    Outbox,
    OutboxEntry,
    OutboxEvent,
    new_entry_id,
    write_entry,
)
from dispatch.keys import identity
from dispatch.model import Order, OrderStatus, RiderAssignment, assignment_of
from dispatch.orders.store import (
    ConditionClause,
    OrderStore,
    from_item,
    insert_order,
    order_key,
    owned_by,
    update_order,
)
from dispatch.orders.transitions.context import Transition, TransitionRequest
from dispatch.orders.transitions.state_machine import decide_transition
from dispatch.orders.transitions.waves import needs_dispatch
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors
from dispatch.wire import frames
from dispatch.wire.snapshots import order_marker, order_summary
from ledger.core.facts import Fact
from ledger.core.order_funds import OrderFunds
from ledger.dynamodb.table import (
    Item,
    Table,
    TableUnavailable,
    TransactionCancelled,
    Write,
)
from ledger.posting.ledger import GuardFailed, Ledger, LedgerRefused
from ledger.posting.locks import KeyedLocks

# Each attempt loses only to another step of the same order, and a wave holds few riders.
ATTEMPTS_MAX = 12

# What the node that holds a rider's sockets must know of his hands, and where they take him.
WORKLOAD_CHANGE = "duty"
# What the node of an order's rider still has of its trail when the order ends is in Redis by then.
# Source: the drain flushes every 40 ms, and is back within 2 s of Redis.
TRAIL_FLUSHED_AFTER_MS = 5_000

log = structlog.get_logger(__name__)


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and under which name he may repeat it; `audience` as in orders.step.Actor."""

    audience: str
    id: str
    request_key: RequestKey | None = None


ENGINE = Caller(audience="engine", id="engine")


class ExtraWrite(NamedTuple):
    """A further write of a step, and what it means when its condition fails."""

    write: Write
    refusal: Refused


class ExtraWrites(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into a step's transaction besides the order, its saying and the receipt."""

    writes: Sequence[ExtraWrite] = ()
    fact: Fact | None = None
    # The order's money as the order itself tells it; the ledger checks it by its condition.
    expected_funds: OrderFunds | None = None
    condition: ConditionClause | None = None
    # What the caller is told, now and when he repeats himself; None tells him the order in brief.
    answer: object = None


# Finds out what else a step writes, from the order as it was read.
ExtraWritesFactory = Callable[[Order, Transition], Awaitable[ExtraWrites]]
# Finds out what a step must know, from the order as it was read.
TransitionRequestFactory = Callable[[Order], Awaitable[TransitionRequest]]


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """A step that is written; `order` is None where a repeat got its first `answer` again."""

    answer: Any
    order: Order | None = None
    transition: Transition | None = None


class _StaleOrder(Exception):
    """The order has changed since it was read."""


class _RepeatedCommand(Exception):
    """The same command was carried out meanwhile."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer


class OrderUnitOfWork:
    """Writes steps."""

    def __init__(self, table: Table, ledger: Ledger, outbox: Outbox, clock: Clock) -> None:
        self._table = table
        self._orders = OrderStore(table)
        self._idempotency_records = IdempotencyRecords(table)
        self._ledger = ledger
        self._outbox = outbox
        self._clock = clock
        self._order_locks = KeyedLocks()

    async def commit(
        self,
        caller: Caller,
        order_id: str,
        request: TransitionRequest | TransitionRequestFactory,
        extra_writes_for: ExtraWritesFactory,
        loaded: Order | None = None,
    ) -> Committed:
        """Load, decide and write one step of an order; start again when somebody was faster.

        Whoever has just read the order hands it over as `known`, and it is not read again unless
        it has changed since: the write asks for its version.

        Steps of one order take turns on this node: were they to race, all but one would have to
        start again, each with a transaction for nothing.

        Errors: Refused by the machine, the money or an extra write; StoreUnavailable.
        """
        assert loaded is None or caller.request_key is None, "a repeat is known by its receipt"
        async with self._order_locks.hold((order_id,)):
            return await self._commit_with_retries(
                caller, order_id, request, extra_writes_for, loaded
            )

    async def _commit_with_retries(
        self,
        caller: Caller,
        order_id: str,
        request: TransitionRequest | TransitionRequestFactory,
        extra_writes_for: ExtraWritesFactory,
        loaded: Order | None,
    ) -> Committed:
        for _ in range(ATTEMPTS_MAX):
            try:
                # Inside: what is not there takes the same way as what is somebody else's.
                first, order = await self._find_answer_and_order(caller, order_id, loaded)
                loaded = None
                if first is not None:
                    return Committed(answer=first)
                ask = request if isinstance(request, TransitionRequest) else await request(order)
                step = decide_transition(order, replace(ask, now_ms=self._clock.now_ms()))
                if step.order is order:
                    return Committed(answer=order_summary(order), order=order, transition=step)
                return await self._commit_transition(
                    caller, order, step, await extra_writes_for(order, step)
                )
            except _StaleOrder:
                continue
            except _RepeatedCommand as repeated:
                return Committed(answer=repeated.answer)
            except Refused:
                return await self._first_answer_or_raise(caller)
        raise StoreUnavailable(
            "dynamodb", f"order {order_id} changes faster than it can be written"
        )

    async def commit_new(
        self, caller: Caller, transition: Transition, extra_writes: ExtraWrites, answer: object
    ) -> Committed:
        """Write a new order.

        Errors: Refused by the money or an extra write; StoreUnavailable.
        """
        assert transition.order.version == 1, "a new order enters at its first version"
        try:
            return await self._commit_writes(
                caller, insert_order(transition.order), (None, transition), (extra_writes, answer)
            )
        except _RepeatedCommand as repeated:
            return Committed(answer=repeated.answer)
        except Refused:
            return await self._first_answer_or_raise(caller)
        except _StaleOrder as error:
            raise Refused(Refusal.CONFLICT, "this order exists already") from error

    async def _first_answer_or_raise(self, caller: Caller) -> Committed:
        """Answer a refusal: a copy of the same command that ran beside may have been the reason.

        Errors: the Refused that is being handled, where there was no such copy.
        """
        if (first := await self.find_first_answer(caller)) is None:
            raise  # noqa: PLE0704 (called from an except block)
        return Committed(answer=first)

    async def find_first_answer(self, caller: Caller) -> Any | None:
        """The first answer to a command that was carried out before."""
        with translate_dynamodb_errors():
            return await self._idempotency_records.find(caller.request_key)

    async def load(self, order_id: str) -> Order:
        """One order.

        Errors: Refused NOT_FOUND; StoreUnavailable.
        """
        with translate_dynamodb_errors():
            return _require_found(order_id, await self._orders.get(order_id))

    async def _find_answer_and_order(
        self, caller: Caller, order_id: str, loaded: Order | None
    ) -> tuple[Any | None, Order]:
        """The first answer where this is a repeat, and the order.

        Errors: Refused NOT_FOUND, or CONFLICT for another command of the same name;
        StoreUnavailable.
        DynamoDB: one BatchGetItem, or one GetItem where the command has no name; none where the
        order is known.
        """
        if loaded is not None:
            return None, loaded
        if caller.request_key is None:
            return None, await self.load(order_id)
        with translate_dynamodb_errors():
            order, item = await self._table.get_many(
                [order_key(order_id), caller.request_key.record_key]
            )
        first = None if item is None else first_answer(caller.request_key, item)
        return first, _require_found(order_id, from_item(order) if order else None)

    async def _commit_transition(
        self, caller: Caller, before: Order, transition: Transition, extra_writes: ExtraWrites
    ) -> Committed:
        clause = extra_writes.condition
        if clause is None and caller.audience in ("user", "vendor", "rider"):
            clause = owned_by(caller.audience, caller.id)
        write = update_order(before, transition.order, clause)
        answer = (
            order_summary(transition.order) if extra_writes.answer is None else extra_writes.answer
        )
        return await self._commit_writes(
            caller, write, (before, transition), (extra_writes, answer)
        )

    async def _commit_writes(
        self,
        caller: Caller,
        order_write: Write,
        before_and_transition: tuple[Order | None, Transition],
        extras_and_answer: tuple[ExtraWrites, object],
    ) -> Committed:
        (before, step), (plan, answer) = before_and_transition, extras_and_answer
        entry = outbox_entry_for(before, step, self._clock.now_ms())
        writes = [order_write, write_entry(entry)]
        if caller.request_key is not None:
            writes.append(write_record(caller.request_key, answer, entry.at_ms))
        first_extra = len(writes)
        writes.extend(extra.write for extra in plan.writes)
        try:
            await self._transact(plan, writes)
        except GuardFailed as failed:
            raise _error_for_failed_write(caller, failed, first_extra, plan) from failed
        self._outbox.enqueue(entry)
        _count_transition(before, step.order)
        return Committed(answer=answer, order=step.order, transition=step)

    async def _transact(self, extra_writes: ExtraWrites, writes: Sequence[Write]) -> None:
        """One transaction, through the ledger where money moves.

        Errors: GuardFailed with the first failed write; Refused for the money; StoreUnavailable.
        """
        try:
            if extra_writes.fact is None:
                await self._table.transact(writes)
                return
            posted = await self._ledger.post(extra_writes.fact, writes, extra_writes.expected_funds)
        except TransactionCancelled as cancelled:
            position = cancelled.failed_positions()[0]
            raise GuardFailed(position, cancelled.reasons[position].item) from cancelled
        except LedgerRefused as refused:
            raise Refused(_LEDGER_REFUSALS[refused.code], refused.message) from refused
        except TableUnavailable as error:
            raise StoreUnavailable("dynamodb", str(error)) from error
        if posted.is_replayed:
            # Somebody else posted this very fact, with his own write of the order beside it.
            raise GuardFailed(0, None)


def _require_found(order_id: str, order: Order | None) -> Order:
    if order is None:
        raise Refused(Refusal.NOT_FOUND, f"there is no order {order_id} of yours")
    return order


_LEDGER_REFUSALS = {
    "insufficient_funds": Refusal.INSUFFICIENT_FUNDS,
    "frozen": Refusal.FORBIDDEN,
    "conflict": Refusal.CONFLICT,
    "wrong_state": Refusal.WRONG_STATE,
    "not_found": Refusal.NOT_FOUND,
}


def _error_for_failed_write(
    caller: Caller, failed: GuardFailed, first_extra: int, extra_writes: ExtraWrites
) -> Exception:
    """What a failed condition says to the caller; writes stand in the order of `_commit`."""
    if failed.position >= first_extra:
        return extra_writes.writes[failed.position - first_extra].refusal
    if failed.position == first_extra - 1 and caller.request_key is not None:
        return _error_for_repeat(caller.request_key, failed.item)
    return _StaleOrder()


def _error_for_repeat(request_key: RequestKey, item: Item | None) -> Exception:
    if item is None:
        return _StaleOrder()
    try:
        return _RepeatedCommand(first_answer(request_key, item))
    except Refused as refused:
        return refused


def outbox_entry_for(before: Order | None, transition: Transition, now_ms: int) -> OutboxEntry:
    """What is to be told and timed once the step is written."""
    after = transition.order
    says = [
        OutboxEvent(s.receiver, s.event.event, frames.encode_body(s.event).decode())
        for s in transition.events
    ]
    says.extend(_workload_events(before, transition))
    return OutboxEntry(
        entry_id=new_entry_id(),
        order_id=after.order_id,
        at_ms=now_ms,
        events=tuple(says),
        line=BoardLine(order_marker(after), ended=after.is_terminal),
        due_at_ms=_due_at_ms(before, after),
        counters=_counter_increments(before, transition),
        trail_due_ms=now_ms + TRAIL_FLUSHED_AFTER_MS if _has_finished_trail(transition) else None,
    )


class WorkloadChange(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A rider takes an order up, goes on with it, or puts it down."""

    order_id: str
    carries: bool
    course: RiderAssignment | None = None


def _workload_events(before: Order | None, transition: Transition) -> Iterator[OutboxEvent]:
    after, course = transition.order, assignment_of(transition.order)
    if transition.released_rider_id is not None:
        yield _workload_event(
            transition.released_rider_id, WorkloadChange(order_id=after.order_id, carries=False)
        )
    elif course is not None and (before is None or course != assignment_of(before)):
        assert after.rider_id is not None, "a course is a rider's"
        yield _workload_event(
            after.rider_id, WorkloadChange(order_id=after.order_id, carries=True, course=course)
        )


def _workload_event(rider: str, change: WorkloadChange) -> OutboxEvent:
    body = msgspec.json.encode(change).decode()
    return OutboxEvent(identity("rider", rider), WORKLOAD_CHANGE, body, is_durable=False)


def _has_finished_trail(transition: Transition) -> bool:
    """Whether the step ends the way of a rider with the order, and not only his part in it."""
    is_over = transition.order.status in (OrderStatus.DELIVERED, OrderStatus.CANCELLED)
    return is_over and transition.released_rider_id is not None


def _due_at_ms(before: Order | None, after: Order) -> int | None:
    if after.dispatch is not None and needs_dispatch(after):
        return after.dispatch.due_at_ms
    # The engine looks a last time and lets go of the riders it had asked.
    wanted = before is not None and needs_dispatch(before)
    return after.updated_at if wanted else None


_COUNTER_BY_STATUS = {
    OrderStatus.DELIVERED: "ordersDelivered",
    OrderStatus.CANCELLED: "ordersCancelled",
    OrderStatus.REJECTED: "ordersCancelled",
}


def _counter_increments(before: Order | None, transition: Transition) -> dict[str, int]:
    after = transition.order
    offers = sum(said.event.event == "delivery_request" for said in transition.events)
    tally = {"offersMade": offers} if offers else {}
    if before is None:
        return {**tally, "ordersPlaced": 1}
    if before.status is after.status:
        return tally
    if after.status is OrderStatus.FUNDS_DISTRIBUTED:
        tally["settledXaf"] = after.pricing.total
    elif after.status in _COUNTER_BY_STATUS:
        tally[_COUNTER_BY_STATUS[after.status]] = 1
    return tally


def _count_transition(before: Order | None, after: Order) -> None:
    if before is None or before.status is not after.status:
        metrics.ORDER_TRANSITIONS.labels(after.order_type, after.status.value).inc()
