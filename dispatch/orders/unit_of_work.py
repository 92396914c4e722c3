"""Order unit of work: one conditional transaction for a transition and all that belongs to it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.events.audit_records import OperatorAct, audit_record
from dispatch.events.idempotency_records import (
    IdempotencyRecords,
    RequestKey,
    first_answer,
    write_record,
)
from dispatch.events.outbox import Outbox, write_entry
from dispatch.ids import OrderId
from dispatch.model import Order
from dispatch.orders.operator_acts import operator_act
from dispatch.orders.outbox_entry import outbox_entry_for
from dispatch.orders.store import (
    ConditionClause,
    OrderStore,
    from_item,
    insert_order,
    order_key,
    owned_by,
    update_order,
)
from dispatch.orders.transaction import ConditionalWrite, OrderTransactions, StaleOrder
from dispatch.orders.transitions.context import Transition, TransitionRequest
from dispatch.orders.transitions.state_machine import decide_transition
from dispatch.orders.unpaid_orders import UnpaidLimits, unpaid_writes
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors
from dispatch.wire.snapshots import Snapshot, order_summary
from ledger.core.facts import Fact
from ledger.core.order_funds import OrderFunds
from ledger.dynamodb.table import Item, Table, Write
from ledger.posting.ledger import Ledger
from ledger.posting.locks import KeyedLocks

# An attempt fails only where another transition of the same order is written first.
# Source: chosen; a wave asks at most five riders, who may all answer at once.
ATTEMPTS_MAX = 12


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who requests something; `audience` as in `transitions.context.Actor`.

    `request_key` is the idempotency key under which the caller may repeat it.
    """

    audience: str
    id: str
    request_key: RequestKey | None = None


ENGINE = Caller(audience="engine", id="engine")


class ExtraWrite(NamedTuple):
    """A further write of a transition, and the refusal that a failure of its condition means.

    `explain` makes a better one of the item that the condition met.
    """

    write: Write
    refusal: Refused
    explain: Callable[[Item | None], Refused] | None = None


class ExtraWrites(msgspec.Struct, frozen=True, kw_only=True):
    """What a transition's transaction holds besides order, outbox entry and idempotency record.

    `expected_funds` is the order's money as the order implies it; the ledger verifies it by a
    condition. `condition` replaces the condition that the order belongs to the caller. `answer` is
    the caller's answer, also to a repetition; None means a summary of the order.
    """

    writes: Sequence[ExtraWrite] = ()
    fact: Fact | None = None
    expected_funds: OrderFunds | None = None
    condition: ConditionClause | None = None
    answer: Snapshot | None = None


# Finds what else a transition writes, from the order as it was read.
ExtraWritesFactory = Callable[[Order, Transition], Awaitable[ExtraWrites]]
# Finds what a transition needs to know, from the order as it was read.
TransitionRequestFactory = Callable[[Order], Awaitable[TransitionRequest[Any]]]


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a request; `order` is None where it is the first answer to a repetition."""

    answer: Snapshot
    order: Order | None = None
    transition: Transition | None = None


class PreparedCommit(msgspec.Struct, frozen=True, kw_only=True):
    """A decided transition, ready to be written; `before` is None for a new order.

    `act` is None where no operator requested it.
    """

    caller: Caller
    before: Order | None
    transition: Transition
    order_write: Write
    extra_writes: ExtraWrites
    answer: Snapshot
    act: OperatorAct | None = None


class _RepeatedCommand(Exception):
    """The same command was carried out meanwhile."""

    def __init__(self, answer: Snapshot) -> None:
        super().__init__()
        self.answer = answer


class OrderUnitOfWork:
    """Commits transitions of orders."""

    def __init__(
        self,
        table: Table,
        ledger: Ledger,
        outbox: Outbox,
        clock: Clock,
        unpaid_limits: UnpaidLimits | None = None,
    ) -> None:
        self._table = table
        self._unpaid_limits = unpaid_limits or UnpaidLimits()
        self._orders = OrderStore(table)
        self._idempotency_records = IdempotencyRecords(table)
        self._transactions = OrderTransactions(table, ledger)
        self._outbox = outbox
        self._clock = clock
        self._order_locks = KeyedLocks()

    async def commit(
        self,
        caller: Caller,
        order_id: OrderId,
        request: TransitionRequest[Any] | TransitionRequestFactory,
        extra_writes_for: ExtraWritesFactory,
        loaded: Order | None = None,
    ) -> Committed:
        """Load an order, decide a transition and write it; retry where the order has changed.

        `loaded` is the order where the caller has just read it; it is read again only if it has
        changed since, which the write's condition shows. Transitions of one order take turns on
        this node, so that they do not make each other's transactions fail.

        Errors: Refused by the state machine, the ledger or an extra write; StoreUnavailable.
        """
        assert loaded is None or caller.request_key is None, "a repetition must be looked up"
        async with self._order_locks.hold((order_id,)):
            return await self._commit_with_retries(
                caller, order_id, request, extra_writes_for, loaded
            )

    async def _commit_with_retries(
        self,
        caller: Caller,
        order_id: OrderId,
        request: TransitionRequest[Any] | TransitionRequestFactory,
        extra_writes_for: ExtraWritesFactory,
        loaded: Order | None,
    ) -> Committed:
        for _ in range(ATTEMPTS_MAX):
            try:
                # Inside `try`: an unknown order is answered like one that belongs to another.
                first, order = await self._find_answer_and_order(caller, order_id, loaded)
                loaded = None
                if first is not None:
                    return Committed(answer=first)
                asked = request if isinstance(request, TransitionRequest) else await request(order)
                transition = decide_transition(order, replace(asked, now_ms=self._clock.now_ms()))
                if transition.first_answer is not None:
                    return Committed(answer=transition.first_answer)
                if transition.order is order:
                    return Committed(
                        answer=order_summary(order), order=order, transition=transition
                    )
                extra_writes = await extra_writes_for(order, transition)
                prepared = _prepare_update(caller, order, transition, extra_writes)
                act = operator_act(asked, order, transition.order)
                return await self.write(replace(prepared, act=act))
            except StaleOrder:
                continue
            except _RepeatedCommand as repeated:
                return Committed(answer=repeated.answer)
            except Refused as refused:
                return await self._first_answer_or_raise(caller, refused)
        raise StoreUnavailable(
            "dynamodb", f"order {order_id} changes faster than it can be written"
        )

    async def commit_new(
        self, caller: Caller, transition: Transition, extra_writes: ExtraWrites, answer: Snapshot
    ) -> Committed:
        """Write a new order.

        Errors: Refused by the ledger or an extra write; StoreUnavailable.
        """
        assert transition.order.version == 1, "a new order is written at its first version"
        prepared = PreparedCommit(
            caller=caller,
            before=None,
            transition=transition,
            order_write=insert_order(transition.order),
            extra_writes=extra_writes,
            answer=answer,
        )
        try:
            return await self.write(prepared)
        except _RepeatedCommand as repeated:
            return Committed(answer=repeated.answer)
        except Refused as refused:
            return await self._first_answer_or_raise(caller, refused)
        except StaleOrder as error:
            raise Refused(Refusal.CONFLICT, "this order exists already") from error

    async def _first_answer_or_raise(self, caller: Caller, refused: Refused) -> Committed:
        """The first answer, where a copy of the same command was carried out meanwhile.

        Errors: `refused`, where there was no copy.
        """
        first = await self.find_first_answer(caller)
        if first is None:
            raise refused
        return Committed(answer=first)

    async def find_first_answer(self, caller: Caller) -> Snapshot | None:
        """The first answer to a command that was carried out before; None for a new one.

        Errors: Refused CONFLICT where the key was used for another command; StoreUnavailable.
        DynamoDB: one GetItem where the caller has an idempotency key.
        """
        with translate_dynamodb_errors():
            return await self._idempotency_records.find(caller.request_key)

    async def load(self, order_id: OrderId) -> Order:
        """One order.

        Errors: Refused NOT_FOUND; StoreUnavailable.
        DynamoDB: one GetItem, consistent.
        """
        with translate_dynamodb_errors():
            return _require_found(order_id, await self._orders.get(order_id))

    async def _find_answer_and_order(
        self, caller: Caller, order_id: OrderId, loaded: Order | None
    ) -> tuple[Snapshot | None, Order]:
        """The first answer where this is a repetition, and the order.

        Errors: Refused NOT_FOUND, or CONFLICT where the key was used for another command;
        StoreUnavailable.
        DynamoDB: one BatchGetItem; one GetItem without an idempotency key; none for a loaded order.
        """
        if loaded is not None:
            return None, loaded
        if caller.request_key is None:
            return None, await self.load(order_id)
        with translate_dynamodb_errors():
            order, record = await self._table.get_many(
                [order_key(order_id), caller.request_key.record_key]
            )
        first = None if record is None else first_answer(caller.request_key, record)
        return first, _require_found(order_id, from_item(order) if order else None)

    async def write(self, prepared: PreparedCommit) -> Committed:
        """Write a prepared transition in one transaction, and hand its outbox entry to the relay.

        Errors: the error of the first write whose condition failed; Refused by the ledger;
        StoreUnavailable.
        DynamoDB: one TransactWriteItems; more reads where money moves (`Ledger.post`).
        """
        caller, transition = prepared.caller, prepared.transition
        entry = outbox_entry_for(prepared.before, transition, self._clock.now_ms())
        writes = [
            ConditionalWrite(prepared.order_write, _stale_order),
            ConditionalWrite(write_entry(entry), _stale_order),
        ]
        if caller.request_key is not None:
            writes.append(_record_write(caller.request_key, prepared.answer, entry.at_ms))
        if prepared.act is not None:
            writes.append(ConditionalWrite(audit_record(prepared.act, entry.at_ms), _stale_order))
        writes.extend(_extra_write(each) for each in prepared.extra_writes.writes)
        writes += unpaid_writes(prepared.before, transition.order, self._unpaid_limits)
        await self._transactions.commit(
            writes, prepared.extra_writes.fact, prepared.extra_writes.expected_funds
        )
        self._outbox.enqueue(entry)
        _count_transition(prepared.before, transition.order)
        return Committed(answer=prepared.answer, order=transition.order, transition=transition)


def _prepare_update(
    caller: Caller, before: Order, transition: Transition, extra_writes: ExtraWrites
) -> PreparedCommit:
    condition = extra_writes.condition
    if condition is None and caller.audience in ("user", "vendor", "rider"):
        condition = owned_by(caller.audience, caller.id)
    answer = extra_writes.answer
    return PreparedCommit(
        caller=caller,
        before=before,
        transition=transition,
        order_write=update_order(before, transition.order, condition),
        extra_writes=extra_writes,
        answer=order_summary(transition.order) if answer is None else answer,
    )


def _stale_order(_item: Item | None) -> Exception:
    return StaleOrder()


def _record_write(request_key: RequestKey, answer: Snapshot, now_ms: int) -> ConditionalWrite:
    """The idempotency record; its condition fails where a copy of the command was faster."""

    def error(item: Item | None) -> Exception:
        if item is None:
            return StaleOrder()
        try:
            return _RepeatedCommand(first_answer(request_key, item))
        except Refused as refused:
            return refused

    return ConditionalWrite(write_record(request_key, answer, now_ms), error)


def _extra_write(extra: ExtraWrite) -> ConditionalWrite:
    if extra.explain is not None:
        return ConditionalWrite(extra.write, extra.explain)
    return ConditionalWrite(extra.write, lambda _item: extra.refusal)


def _require_found(order_id: OrderId, order: Order | None) -> Order:
    if order is None:
        raise Refused(Refusal.NOT_FOUND, f"there is no order {order_id} of yours")
    return order


def _count_transition(before: Order | None, after: Order) -> None:
    if before is None or before.status is not after.status:
        metrics.ORDER_TRANSITIONS.labels(after.order_type, after.status.value).inc()
