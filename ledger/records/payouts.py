"""Payouts: what an owner draws from his wallet, from his request until a provider has paid it.

REQUESTED (the money is held) → APPROVED (by another person) → SUBMITTED → PAID | FAILED;
REQUESTED → REJECTED | CANCELLED; PAID → RETURNED.
"""

from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

import msgspec

from ledger.core import accounts
from ledger.core.accounts import AccountKind, balance_key, checked_id, list_shard_of
from ledger.core.facts import OwnerType, PayoutPaid, PayoutReturned, payout_pk
from ledger.core.money import checked_amount
from ledger.core.order_funds import IF_ABSENT, GuardedWrites
from ledger.dynamodb.table import (
    Check,
    Item,
    Key,
    Put,
    Update,
    time_sort_key,
)
from ledger.records.wallets import ACTIVE

# Where GSI2 lists payouts by state, sharded.
PAYOUT_QUEUE = "PAYOUT_QUEUE"
# Whether payouts go out at all; the audit stops them where the books are broken.
PAYOUT_STOP_KEY = Key("CONFIG#GLOBAL", "PAYOUTS")
# Names of our references at providers. Source: drawn once, RFC 9562 version 4.
_NAMESPACE = UUID("6f2d1f5e-6f0b-4a55-9d0f-3c1f2a8b7d90")


class PayoutState(StrEnum):
    """Where a payout stands."""

    REQUESTED = "REQUESTED"
    APPROVED = "APPROVED"
    SUBMITTED = "SUBMITTED"
    PAID = "PAID"
    FAILED = "FAILED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    RETURNED = "RETURNED"


# The money is held and has not left.
OPEN_STATES = (PayoutState.REQUESTED, PayoutState.APPROVED, PayoutState.SUBMITTED)


class Payout(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One payout. Units: whole XAF, Unix milliseconds.

    `destination` is fixed with the request; `provider_ref` is written down before the provider is
    called, so that the same reference finds whatever came of the call.
    """

    payout_id: str
    owner_type: OwnerType
    owner_id: str
    amount: int
    destination: Any
    provider: str
    requested_by: str
    created_at: int
    updated_at: int
    payout_state: PayoutState = PayoutState.REQUESTED
    approved_by: str | None = None
    provider_ref: str | None = None
    submitted_at: int | None = None
    fee: int = 0
    reason: str | None = None

    @property
    def account(self) -> str:
        """The wallet it comes out of."""
        return accounts.owner(self.owner_type, self.owner_id)


def payout_key(payout_id: str) -> Key:
    """Where a payout is kept; its entries stand beside it."""
    return Key(payout_pk(payout_id), "REQUEST")


def read_payout(item: Item) -> Payout:
    """Decode a REQUEST item."""
    return msgspec.convert(item, Payout)


def provider_reference(payout_id: str) -> str:
    """Our reference of a payout at its provider: the same for every call about it."""
    return str(uuid5(_NAMESPACE, checked_id(payout_id)))


def payout_queue_pk(state: PayoutState, shard: int) -> str:
    """One shard of the list of payouts that stand so."""
    return f"{PAYOUT_QUEUE}#{state}#{shard}"


def owner_payouts_pk(owner_type: str, owner_id: str) -> str:
    """The list of one owner's payouts in GSI1."""
    return f"ENTITY#{accounts.owner(owner_type, owner_id)}#PAYOUTS"


def request_payout(payout: Payout, now_ms: int) -> GuardedWrites:
    """Ask for a payout and hold its money; a rider must have handed in his cash before.

    DynamoDB: Put REQUEST if absent; Update BALANCE if it has the amount; Check RIDERCASH.
    """
    key = payout_key(payout.payout_id)
    item = {
        "PK": key.pk,
        "SK": key.sk,
        **msgspec.to_builtins(payout),
        "GSI1PK": owner_payouts_pk(payout.owner_type, payout.owner_id),
        "GSI1SK": f"PAYOUT#{time_sort_key(now_ms, payout.payout_id)}",
        **_queue_keys(payout.payout_id, PayoutState.REQUESTED, now_ms),
    }
    hold = Update(
        key=balance_key(payout.account),
        expression=(
            "SET held = held + :amount, available = available - :amount, v = v + :one, "
            "updatedAt = :now"
        ),
        condition="available >= :amount AND #status = :active",
        names={"#status": "status"},
        values={
            ":amount": checked_amount(payout.amount),
            ":active": ACTIVE,
            ":one": 1,
            ":now": now_ms,
        },
    )
    asked = GuardedWrites(
        (Put(item=item, condition=IF_ABSENT), hold), ("conflict", "insufficient_funds")
    )
    if payout.owner_type != AccountKind.RIDER:
        return asked
    empty_handed = Check(
        key=balance_key(accounts.rider_cash(payout.owner_id)),
        condition="attribute_not_exists(PK) OR posted = :zero",
        values={":zero": 0},
    )
    return GuardedWrites((*asked.writes, empty_handed), (*asked.codes, "cash_owed"))


def approve_payout(payout_id: str, by: str, now_ms: int) -> GuardedWrites:
    """Another person than the requester agrees. DynamoDB: REQUESTED → APPROVED, while open."""
    step = _transition(
        payout_id,
        (PayoutState.REQUESTED, PayoutState.APPROVED),
        now_ms,
        ("approvedBy = :by", "requestedBy <> :by", {":by": by}),
    )
    return GuardedWrites((step, check_not_stopped()), ("wrong_state", "payouts_stopped"))


def submit_payout(payout_id: str, now_ms: int) -> GuardedWrites:
    """About to be sent to the provider, under a reference that is known from now on.

    DynamoDB: APPROVED → SUBMITTED, while payouts are not stopped.
    """
    values = {":ref": provider_reference(payout_id)}
    step = _transition(
        payout_id,
        (PayoutState.APPROVED, PayoutState.SUBMITTED),
        now_ms,
        ("providerRef = :ref, submittedAt = :now", "", values),
    )
    return GuardedWrites((step, check_not_stopped()), ("wrong_state", "payouts_stopped"))


def end_unpaid_payout(payout: Payout, to: PayoutState, reason: str, now_ms: int) -> GuardedWrites:
    """Nothing will be paid, and what was held may be spent again.

    DynamoDB: REQUESTED → REJECTED | CANCELLED, SUBMITTED → FAILED; Update BALANCE.
    """
    before = PayoutState.SUBMITTED if to is PayoutState.FAILED else PayoutState.REQUESTED
    step = _transition(
        payout.payout_id, (before, to), now_ms, ("reason = :reason", "", {":reason": reason})
    )
    freed = Update(
        key=balance_key(payout.account),
        expression=(
            "SET held = held - :amount, available = available + :amount, v = v + :one, "
            "updatedAt = :now"
        ),
        condition="held >= :amount",
        values={":amount": payout.amount, ":one": 1, ":now": now_ms},
    )
    return GuardedWrites((step, freed), ("wrong_state", "wrong_state"))


def mark_paid(fact: PayoutPaid, now_ms: int) -> Update:
    """The provider has paid. DynamoDB: SUBMITTED → PAID, if it is what was asked for."""
    return _transition(
        fact.payout_id,
        (PayoutState.SUBMITTED, PayoutState.PAID),
        now_ms,
        ("fee = :fee", *_matches_request(fact, {":fee": fact.fee})),
    )


def mark_returned(fact: PayoutReturned, now_ms: int) -> Update:
    """What was paid came back. DynamoDB: PAID → RETURNED, if it is what was asked for."""
    return _transition(
        fact.payout_id,
        (PayoutState.PAID, PayoutState.RETURNED),
        now_ms,
        ("reason = :reason", *_matches_request(fact, {":reason": fact.reason})),
    )


def check_not_stopped() -> Check:
    """Payouts are not stopped."""
    return Check(
        key=PAYOUT_STOP_KEY,
        condition="attribute_not_exists(stopped) OR stopped = :no",
        values={":no": False},
    )


def _matches_request(
    fact: PayoutPaid | PayoutReturned, values: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    asked = {":owner": fact.owner_id, ":type": fact.owner_type, ":amount": fact.amount}
    return "ownerId = :owner AND ownerType = :type AND amount = :amount", {**values, **asked}


def _transition(
    payout_id: str,
    states: tuple[PayoutState, PayoutState],
    now_ms: int,
    change: tuple[str, str, dict[str, Any]],
) -> Update:
    """One step of a payout; `more` is what else is set, asked for, and their values."""
    before, after = states
    sets, condition, values = change
    listed = _queue_keys(payout_id, after, now_ms)
    return Update(
        key=payout_key(payout_id),
        expression=f"SET payoutState = :to, updatedAt = :now, GSI2PK = :pk, GSI2SK = :sk, {sets}",
        condition="payoutState = :from" + (f" AND {condition}" if condition else ""),
        values={
            **values,
            ":from": before,
            ":to": after,
            ":now": now_ms,
            ":pk": listed["GSI2PK"],
            ":sk": listed["GSI2SK"],
        },
    )


def _queue_keys(payout_id: str, state: PayoutState, now_ms: int) -> dict[str, str]:
    return {
        "GSI2PK": payout_queue_pk(state, list_shard_of(payout_id)),
        "GSI2SK": time_sort_key(now_ms, payout_id),
    }
