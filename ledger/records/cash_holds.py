"""Holds for cash on delivery: reserving part of a rider's cash limit, and the end of a hold.

A rider's exposure is the cash that it has not remitted plus the cash that it is about to collect.
"""

from typing import NamedTuple

from ledger.core import accounts
from ledger.core.accounts import balance_key, checked_id, list_shard_of
from ledger.core.money import CURRENCY, checked_amount
from ledger.core.order_funds import GuardedWrites
from ledger.dynamodb.table import (
    Item,
    Key,
    Put,
    Update,
    time_sort_key,
)
from ledger.records.wallets import ACTIVE, GENESIS

# Largest exposure of a rider. Source: docs/contract.md, business rules.
CASH_LIMIT_XAF = 50_000

# Partition of GSI2 that lists open holds, sharded, the oldest first.
OPEN_HOLDS = "HOLD#OPEN"

HOLD_OPEN = "OPEN"
HOLD_RELEASED = "RELEASED"
HOLD_POSTED = "POSTED"


def hold_key(order_id: str) -> Key:
    """Key of the hold for one order's cash."""
    return Key(f"ORDER#{checked_id(order_id)}", "HOLD#CASH")


def reserve_cash(
    order_id: str, rider_id: str, amount: int, limit: int, now_ms: int
) -> GuardedWrites:
    """Reserve an order's cash, unless the rider's exposure would exceed the limit.

    The limit comes with each call and is not stored, so that a new limit applies to the next order.
    Codes: `conflict` if a hold is open already, `cash_limit` if the limit would be exceeded.

    Units: whole XAF.

    DynamoDB: Put HOLD; Update RIDERCASH, which creates it on first use.
    """
    headroom = limit - checked_amount(amount)
    key = hold_key(order_id)
    hold: Item = {
        "PK": key.pk,
        "SK": key.sk,
        "holdState": HOLD_OPEN,
        "riderId": checked_id(rider_id),
        "amount": amount,
        "createdAt": now_ms,
        "updatedAt": now_ms,
        "GSI2PK": f"{OPEN_HOLDS}#{list_shard_of(order_id)}",
        "GSI2SK": time_sort_key(now_ms, order_id),
    }
    put = Put(
        item=hold,
        condition="attribute_not_exists(PK) OR holdState = :released",
        values={":released": HOLD_RELEASED},
    )
    return GuardedWrites(
        (put, _raise_exposure(rider_id, amount, headroom, now_ms)), ("conflict", CASH_LIMIT_CODE)
    )


CASH_LIMIT_CODE = "cash_limit"


def release_cash(order_id: str, rider_id: str, amount: int, now_ms: int) -> GuardedWrites:
    """Release a hold: the order was cancelled or reassigned. Units: whole XAF.

    DynamoDB: HOLD OPEN → RELEASED; Update RIDERCASH.
    """
    lower = Update(
        key=balance_key(accounts.rider_cash(rider_id)),
        expression=(
            "SET held = held - :amount, exposure = exposure - :amount, v = v + :one, "
            "updatedAt = :now"
        ),
        condition="held >= :amount",
        values={":amount": checked_amount(amount), ":one": 1, ":now": now_ms},
    )
    ended = end_hold(order_id, rider_id, amount, to=HOLD_RELEASED, now_ms=now_ms)
    return GuardedWrites((ended, lower), ("wrong_state", "wrong_state"))


class HoldChange(NamedTuple):
    """What a hold was made for, and what the rider collected. Units: whole XAF."""

    before: int
    after: int


def change_hold(order_id: str, rider_id: str, change: HoldChange, now_ms: int) -> GuardedWrites:
    """Change an open hold to what the rider owes for the order, also above the limit: it has it.

    DynamoDB: Update HOLD and RIDERCASH.
    """
    difference = change.after - change.before
    hold = Update(
        key=hold_key(order_id),
        expression="SET amount = :after, updatedAt = :now",
        condition="holdState = :open AND riderId = :rider AND amount = :before",
        values={
            ":after": change.after,
            ":before": checked_amount(change.before),
            ":open": HOLD_OPEN,
            ":rider": checked_id(rider_id),
            ":now": now_ms,
        },
    )
    exposure = Update(
        key=balance_key(accounts.rider_cash(rider_id)),
        expression=(
            "SET held = held + :difference, exposure = exposure + :difference, v = v + :one, "
            "updatedAt = :now"
        ),
        condition="held >= :before",
        values={
            ":difference": difference,
            ":before": change.before,
            ":one": 1,
            ":now": now_ms,
        },
    )
    return GuardedWrites((hold, exposure), ("wrong_state", "wrong_state"))


def end_hold(order_id: str, rider_id: str, amount: int, *, to: str, now_ms: int) -> Update:
    """End this rider's open hold. DynamoDB: HOLD OPEN → RELEASED or POSTED. Units: whole XAF."""
    return Update(
        key=hold_key(order_id),
        expression="SET holdState = :to, updatedAt = :now REMOVE GSI2PK, GSI2SK",
        condition="holdState = :open AND riderId = :rider AND amount = :amount",
        values={
            ":to": to,
            ":open": HOLD_OPEN,
            ":rider": checked_id(rider_id),
            ":amount": amount,
            ":now": now_ms,
        },
    )


def _raise_exposure(rider_id: str, amount: int, headroom: int, now_ms: int) -> Update:
    account = accounts.rider_cash(rider_id)
    # Without an item the exposure is zero, so a non-negative headroom suffices.
    fits = "exposure <= :headroom AND #status = :active"
    return Update(
        key=balance_key(account),
        expression=(
            "SET held = if_not_exists(held, :zero) + :amount, "
            "exposure = if_not_exists(exposure, :zero) + :amount, "
            "v = if_not_exists(v, :zero) + :one, "
            "posted = if_not_exists(posted, :zero), "
            "seq = if_not_exists(seq, :zero), "
            "head = if_not_exists(head, :genesis), "
            "#status = if_not_exists(#status, :active), "
            "account = if_not_exists(account, :account), "
            "ccy = if_not_exists(ccy, :ccy), "
            "createdAt = if_not_exists(createdAt, :now), updatedAt = :now"
        ),
        condition=f"attribute_not_exists(PK) OR ({fits})" if headroom >= 0 else fits,
        names={"#status": "status"},
        values={
            ":amount": amount,
            ":headroom": headroom,
            ":zero": 0,
            ":one": 1,
            ":genesis": GENESIS,
            ":active": ACTIVE,
            ":account": account,
            ":ccy": CURRENCY,
            ":now": now_ms,
        },
    )
