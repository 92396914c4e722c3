"""Unpaid orders of a customer: how many are open and what they cost, counted where they change.

The counter is one item for each customer, changed in the transactions that place an order and that
end its being unpaid: paid, collected, cancelled. So it is exact after any crash.
"""

import msgspec

from dispatch.errors import Refusal, Refused
from dispatch.model import Order, PaymentState
from dispatch.orders.transaction import ConditionalWrite
from ledger.dynamodb.table import Key, Update

_UNPAID = frozenset({PaymentState.PENDING, PaymentState.FAILED, PaymentState.DUE})


class UnpaidLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many unpaid orders a customer may have open, and what they may cost together.

    Units: orders, whole XAF.
    """

    orders_max: int = 3
    value_max_xaf: int = 100_000


def unpaid_key(user_id: str) -> Key:
    """The key of a customer's counter."""
    return Key(f"USER#{user_id}", "UNPAID")


def is_unpaid(order: Order) -> bool:
    """Whether the order counts: not paid yet, and placed since orders are counted."""
    return order.counts_as_unpaid and order.payment.state in _UNPAID


def unpaid_writes(
    before: Order | None, after: Order, limits: UnpaidLimits
) -> list[ConditionalWrite]:
    """The write of the counter that belongs to a transition; none where nothing changes.

    `before` is None for a new order. It fails with UNPAID_LIMIT.
    """
    was_unpaid = before is not None and is_unpaid(before)
    if was_unpaid == is_unpaid(after):
        return []
    refused = _refusal(limits)
    change = _subtract(after) if was_unpaid else _add(after, limits)
    return [ConditionalWrite(change, lambda _item: refused)]


def _add(order: Order, limits: UnpaidLimits) -> Update:
    """DynamoDB: fails where the customer would exceed a limit; creates the counter."""
    room = limits.value_max_xaf - order.pricing.total
    # Without an item nothing is open, so that an order within the limit fits.
    fits = "unpaidOrders < :max AND unpaidXaf <= :room"
    return Update(
        key=unpaid_key(order.user_id),
        expression="SET unpaidOrders = if_not_exists(unpaidOrders, :zero) + :one, "
        "unpaidXaf = if_not_exists(unpaidXaf, :zero) + :total",
        condition=f"attribute_not_exists(PK) OR ({fits})" if room >= 0 else fits,
        values={
            ":zero": 0, ":one": 1, ":total": order.pricing.total,
            ":max": limits.orders_max, ":room": room,
        },
    )  # fmt: skip


def _subtract(order: Order) -> Update:
    """DynamoDB: unconditional; the order's own condition lets it happen once."""
    return Update(
        key=unpaid_key(order.user_id),
        expression="SET unpaidOrders = unpaidOrders - :one, unpaidXaf = unpaidXaf - :total",
        values={":one": 1, ":total": order.pricing.total},
    )


def _refusal(limits: UnpaidLimits) -> Refused:
    return Refused(
        Refusal.UNPAID_LIMIT,
        f"at most {limits.orders_max} unpaid orders, {limits.value_max_xaf} XAF in all",
        {"ordersMax": limits.orders_max, "valueMax": limits.value_max_xaf},
    )
