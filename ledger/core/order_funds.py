"""Funds of an order: state, escrow and the prices it was placed with, apart from its status.

The functions build writes; dispatch puts some of them into the transactions of its own steps.
"""

import hashlib
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
import orjson

from ledger.core.accounts import checked_id, list_shard_of
from ledger.core.pricing import Pricing
from ledger.dynamodb.table import (
    Item,
    Key,
    Put,
    Update,
    Write,
    time_sort_key,
)

IF_ABSENT = "attribute_not_exists(PK)"

# Partitions of GSI2 that list orders with escrow, and orders that wait for settlement; sharded.
OPEN_ESCROW = "ESCROW#OPEN"
PENDING_SETTLEMENT = "SETTLE#PENDING"


class FundsState(StrEnum):
    """State of an order's funds."""

    # A mobile money payment was requested.
    NONE = "NONE"
    # Cash is due at the dropoff.
    DUE = "DUE"
    CAPTURED = "CAPTURED"
    DELIVERED = "DELIVERED"
    SETTLED = "SETTLED"
    # Paid, and paid back.
    CANCELLED = "CANCELLED"
    # Cancelled before it was paid.
    VOID = "VOID"


class PaymentMethod(StrEnum):
    """How a customer pays for an order."""

    WALLET = "WALLET"
    MOBILE_MONEY = "MOBILE_MONEY"
    CASH = "CASH"


class DeliveredCash(NamedTuple):
    """Cash that a rider says it collected, and what it owes for the order. Units: whole XAF."""

    collected: int
    owed: int


class OrderFunds(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Funds of an order, as stored or as a caller expects them. Units: whole XAF, Unix ms."""

    order_id: str
    funds_state: FundsState
    method: PaymentMethod
    user_id: str
    pricing: Pricing
    escrow: int
    vendor_id: str | None = None
    rider_id: str | None = None
    # Paid back after the settlement: in all, and of that the part that all parties bear.
    refunded: int = 0
    shared: int = 0
    delivered_at: int | None = None
    # Of a delivered cash order: what was collected, and what the rider owes for it.
    cash_collected: int | None = None
    cash_owed: int | None = None

    @property
    def rider_owes(self) -> int:
        """What the rider of a delivered cash order owes for it. Units: whole XAF."""
        return self.pricing.total if self.cash_owed is None else self.cash_owed


class GuardedWrites(msgspec.Struct, frozen=True):
    """Writes for a caller's transaction; `codes[i]` is the refusal if `writes[i]` fails."""

    writes: tuple[Write, ...]
    codes: tuple[str, ...]


def funds_key(order_id: str) -> Key:
    """Key of an order's FUNDS item."""
    return Key(f"ORDER#{checked_id(order_id)}", "FUNDS")


def read_funds(item: Item) -> OrderFunds:
    """Decode a FUNDS item."""
    return msgspec.convert(item, OrderFunds)


def hash_terms(funds: OrderFunds) -> str:
    """Hash of what was agreed at placement: who pays, how, and at which price; it never changes.

    Source: SHA-256 over JSON with sorted keys.
    """
    agreed = [funds.method, funds.user_id, funds.vendor_id, msgspec.to_builtins(funds.pricing)]
    body = orjson.dumps(agreed, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body).hexdigest()


def open_funds(funds: OrderFunds, now_ms: int) -> Put:
    """Create an order's funds. DynamoDB: Put FUNDS if absent. Units: whole XAF."""
    key = funds_key(funds.order_id)
    item: dict[str, Any] = {
        "PK": key.pk,
        "SK": key.sk,
        **msgspec.to_builtins(funds),
        "termsHash": hash_terms(funds),
        "v": 1,
        "createdAt": now_ms,
        "updatedAt": now_ms,
    }
    if funds.escrow:
        item |= _open_escrow_keys(funds.order_id)
    return Put(item=item, condition=IF_ABSENT)


def capture_funds(funds: OrderFunds, now_ms: int) -> Update:
    """Record that mobile money arrived; `funds` is the state afterwards. Units: whole XAF.

    DynamoDB: FUNDS NONE → CAPTURED, if the order was placed on these terms.
    """
    index_keys = _open_escrow_keys(funds.order_id)
    return Update(
        key=funds_key(funds.order_id),
        expression=(
            "SET fundsState = :captured, escrow = :escrow, updatedAt = :now, v = v + :one, "
            "GSI2PK = :pk, GSI2SK = :sk"
        ),
        condition="fundsState = :none AND termsHash = :termsHash",
        values={
            ":captured": FundsState.CAPTURED,
            ":none": FundsState.NONE,
            ":escrow": funds.escrow,
            ":termsHash": hash_terms(funds),
            ":now": now_ms,
            ":one": 1,
            ":pk": index_keys["GSI2PK"],
            ":sk": index_keys["GSI2SK"],
        },
    )


def close_funds(funds: OrderFunds, state: FundsState, now_ms: int) -> Update:
    """Empty the escrow, if the order's funds are still as `funds` says.

    DynamoDB: FUNDS → SETTLED or CANCELLED.
    """
    condition = "fundsState = :from AND escrow = :escrow AND termsHash = :termsHash"
    values: dict[str, Any] = {
        ":from": funds.funds_state,
        ":to": state,
        ":escrow": funds.escrow,
        ":termsHash": hash_terms(funds),
        ":zero": 0,
        ":now": now_ms,
        ":one": 1,
    }
    if funds.rider_id is not None:
        condition += " AND riderId = :rider"
        values[":rider"] = funds.rider_id
    if funds.cash_owed is not None:
        condition += " AND cashOwed = :owed"
        values[":owed"] = funds.cash_owed
    return Update(
        key=funds_key(funds.order_id),
        expression=(
            "SET fundsState = :to, escrow = :zero, updatedAt = :now, v = v + :one "
            "REMOVE GSI2PK, GSI2SK"
        ),
        condition=condition,
        values=values,
    )


def refund_funds(funds: OrderFunds, amount: int, *, is_shared: bool, now_ms: int) -> Update:
    """Count a refund after the settlement, if there was none since `funds` was read.

    Units: whole XAF. DynamoDB: FUNDS stays SETTLED.
    """
    return Update(
        key=funds_key(funds.order_id),
        expression=(
            "SET refunded = refunded + :amount, #shared = #shared + :share, "
            "updatedAt = :now, v = v + :one"
        ),
        condition="fundsState = :settled AND refunded = :refunded AND #shared = :shared",
        names={"#shared": "shared"},
        values={
            ":settled": FundsState.SETTLED,
            ":refunded": funds.refunded,
            ":shared": funds.shared,
            ":amount": amount,
            ":share": amount if is_shared else 0,
            ":now": now_ms,
            ":one": 1,
        },
    )


def mark_delivered(
    order_id: str, rider_id: str, now_ms: int, cash: DeliveredCash | None = None
) -> GuardedWrites:
    """Record the delivery by this rider; the funds then wait for settlement. Units: whole XAF.

    DynamoDB: FUNDS CAPTURED | DUE → DELIVERED, index_keys in GSI2 until settled.
    """
    expression = (
        "SET fundsState = :delivered, riderId = :rider, deliveredAt = :now, updatedAt = :now, "
        "v = v + :one, GSI2PK = :pk, GSI2SK = :sk"
    )
    values: dict[str, Any] = {
        ":delivered": FundsState.DELIVERED,
        ":captured": FundsState.CAPTURED,
        ":due": FundsState.DUE,
        ":rider": checked_id(rider_id),
        ":now": now_ms,
        ":one": 1,
        ":pk": f"{PENDING_SETTLEMENT}#{list_shard_of(order_id)}",
        ":sk": time_sort_key(now_ms, order_id),
    }
    if cash is not None:
        expression += ", cashCollected = :cash, cashOwed = :owed"
        values |= {":cash": cash.collected, ":owed": cash.owed}
    write = Update(
        key=funds_key(order_id),
        expression=expression,
        condition="fundsState IN (:captured, :due)",
        values=values,
    )
    return GuardedWrites((write,), ("wrong_state",))


def void_funds(order_id: str, now_ms: int) -> GuardedWrites:
    """Close the funds of an order cancelled before payment. DynamoDB: FUNDS NONE | DUE → VOID."""
    write = Update(
        key=funds_key(order_id),
        expression="SET fundsState = :void, updatedAt = :now, v = v + :one",
        condition="fundsState IN (:none, :due)",
        values={
            ":void": FundsState.VOID,
            ":none": FundsState.NONE,
            ":due": FundsState.DUE,
            ":now": now_ms,
            ":one": 1,
        },
    )
    return GuardedWrites((write,), ("wrong_state",))


def _open_escrow_keys(order_id: str) -> dict[str, str]:
    return {"GSI2PK": f"{OPEN_ESCROW}#{list_shard_of(order_id)}", "GSI2SK": order_id}
