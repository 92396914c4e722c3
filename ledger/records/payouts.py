"""Payouts from a wallet to an outside account: states and their conditional writes.

REQUESTED (the money is held) → APPROVED (by another person) → SUBMITTED → PAID | FAILED;
REQUESTED → REJECTED | CANCELLED; PAID → RETURNED; FAILED → PAID where the provider paid after all.
"""

from enum import StrEnum
from uuid import UUID, uuid5

import msgspec

from ledger.core import accounts
from ledger.core.accounts import AccountKind, balance_key, checked_id, list_shard_of
from ledger.core.facts import OwnerType, PayoutPaid, PayoutPaidLate, PayoutReturned, payout_pk
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
from ledger.records.update_builder import UpdateBuilder
from ledger.records.wallets import ACTIVE

# Partition of GSI2 that lists payouts by state, sharded.
PAYOUT_QUEUE = "PAYOUT_QUEUE"
# Item that says whether payouts are stopped; the audit stops them when it finds a break.
PAYOUT_STOP_KEY = Key("CONFIG#GLOBAL", "PAYOUTS")
# Namespace of payout references at providers. Source: drawn once, RFC 9562 version 4.
_NAMESPACE = UUID("6f2d1f5e-6f0b-4a55-9d0f-3c1f2a8b7d90")


class PayoutState(StrEnum):
    """State of a payout."""

    REQUESTED = "REQUESTED"
    APPROVED = "APPROVED"
    SUBMITTED = "SUBMITTED"
    PAID = "PAID"
    FAILED = "FAILED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    RETURNED = "RETURNED"


# States in which the money is held and has not been paid.
OPEN_STATES = (PayoutState.REQUESTED, PayoutState.APPROVED, PayoutState.SUBMITTED)


class Payout(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One payout. Units: whole XAF, Unix milliseconds.

    `destination` is fixed with the request. `provider_ref` is stored before the provider is called,
    so that it can be used to find the outcome of the call.
    """

    payout_id: str
    owner_type: OwnerType
    owner_id: str
    amount: int
    destination: str | dict[str, str]
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
    # Who rejected or cancelled it, or reported by hand that it failed; None where its provider did.
    ended_by: str | None = None
    # Reported as paid after it was booked as failed.
    is_paid_late: bool = False

    @property
    def account(self) -> str:
        """Account name of the wallet that is debited."""
        return accounts.owner(self.owner_type, self.owner_id)


def payout_key(payout_id: str) -> Key:
    """Key of a payout's REQUEST item; its entries have the same partition."""
    return Key(payout_pk(payout_id), "REQUEST")


def read_payout(item: Item) -> Payout:
    """Decode a REQUEST item."""
    return msgspec.convert(item, Payout)


def provider_reference(payout_id: str) -> str:
    """Reference of a payout at its provider, the same for every call about it."""
    return str(uuid5(_NAMESPACE, checked_id(payout_id)))


def payout_queue_pk(state: PayoutState, shard: int) -> str:
    """Partition of one shard of the list of payouts in this state, in GSI2."""
    return f"{PAYOUT_QUEUE}#{state}#{shard}"


def owner_payouts_pk(owner_type: str, owner_id: str) -> str:
    """Partition of one owner's payouts, in GSI1."""
    return f"ENTITY#{accounts.owner(owner_type, owner_id)}#PAYOUTS"


def request_payout(payout: Payout, now_ms: int) -> GuardedWrites:
    """Store a payout request and hold its amount; a rider must have remitted all cash.

    Units: whole XAF.

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
    writes = GuardedWrites(
        (Put(item=item, condition=IF_ABSENT), hold), ("conflict", "insufficient_funds")
    )
    if payout.owner_type != AccountKind.RIDER:
        return writes
    no_cash = Check(
        key=balance_key(accounts.rider_cash(payout.owner_id)),
        condition="attribute_not_exists(PK) OR posted = :zero",
        values={":zero": 0},
    )
    return GuardedWrites((*writes.writes, no_cash), (*writes.codes, "cash_owed"))


def approve_payout(payout: Payout, by: str, now_ms: int) -> GuardedWrites:
    """Approve a payout, by another person than the requester.

    Not while its owner owes: the debt may come from an earlier payout that was paid after all.

    DynamoDB: REQUESTED → APPROVED, while payouts are not stopped; Check RECEIVABLE.
    """
    step = _transition(payout.payout_id, PayoutState.REQUESTED, PayoutState.APPROVED, now_ms)
    step.set("approvedBy = :by", by=by)
    step.require("requestedBy <> :by")
    no_debt = Check(
        key=balance_key(accounts.receivable(payout.owner_type, payout.owner_id)),
        condition="attribute_not_exists(PK) OR posted >= :zero",
        values={":zero": 0},
    )
    return GuardedWrites(
        (step.build(), check_not_stopped(), no_debt),
        ("wrong_state", "payouts_stopped", "debt_owed"),
    )


def submit_payout(payout_id: str, now_ms: int) -> GuardedWrites:
    """Record that the payout is about to be sent to the provider, with its reference.

    DynamoDB: APPROVED → SUBMITTED, while payouts are not stopped.
    """
    step = _transition(payout_id, PayoutState.APPROVED, PayoutState.SUBMITTED, now_ms)
    step.set("providerRef = :ref", ref=provider_reference(payout_id))
    step.set("submittedAt = :now")
    return GuardedWrites((step.build(), check_not_stopped()), ("wrong_state", "payouts_stopped"))


def end_unpaid_payout(
    payout: Payout, to: PayoutState, reason: str, now_ms: int, by: str | None = None
) -> GuardedWrites:
    """End a payout that will not be paid, and release its hold. Units: whole XAF.

    DynamoDB: REQUESTED → REJECTED | CANCELLED, SUBMITTED → FAILED; Update BALANCE.
    """
    before = PayoutState.SUBMITTED if to is PayoutState.FAILED else PayoutState.REQUESTED
    step = _transition(payout.payout_id, before, to, now_ms)
    step.set("reason = :reason", reason=reason)
    step.set("endedBy = :by", by=by)
    release = Update(
        key=balance_key(payout.account),
        expression=(
            "SET held = held - :amount, available = available + :amount, v = v + :one, "
            "updatedAt = :now"
        ),
        condition="held >= :amount",
        values={":amount": payout.amount, ":one": 1, ":now": now_ms},
    )
    return GuardedWrites((step.build(), release), ("wrong_state", "wrong_state"))


def mark_paid(fact: PayoutPaid, now_ms: int) -> Update:
    """Record that the provider has paid what was requested. Units: whole XAF.

    DynamoDB: SUBMITTED → PAID, if owner and amount are those of the request.
    """
    step = _transition(fact.payout_id, PayoutState.SUBMITTED, PayoutState.PAID, now_ms)
    step.set("fee = :fee", fee=fact.fee)
    _require_request(step, fact)
    return step.build()


def mark_paid_late(fact: PayoutPaidLate, now_ms: int) -> Update:
    """Record that the provider has paid what was booked as failed. Units: whole XAF.

    DynamoDB: FAILED → PAID, if owner and amount are those of the request.
    """
    step = _transition(fact.payout_id, PayoutState.FAILED, PayoutState.PAID, now_ms)
    step.set("fee = :fee", fee=fact.fee)
    step.set("isPaidLate = :late", late=True)
    _require_request(step, fact)
    return step.build()


def mark_returned(fact: PayoutReturned, now_ms: int) -> Update:
    """Record that a paid payout came back. Units: whole XAF.

    DynamoDB: PAID → RETURNED, if owner and amount are those of the request.
    """
    step = _transition(fact.payout_id, PayoutState.PAID, PayoutState.RETURNED, now_ms)
    step.set("reason = :reason", reason=fact.reason)
    _require_request(step, fact)
    return step.build()


def check_not_stopped() -> Check:
    """Condition that payouts are not stopped."""
    return Check(
        key=PAYOUT_STOP_KEY,
        condition="attribute_not_exists(stopped) OR stopped = :no",
        values={":no": False},
    )


def _require_request(
    step: UpdateBuilder, fact: PayoutPaid | PayoutPaidLate | PayoutReturned
) -> None:
    """Require that owner and amount of the fact are those of the request."""
    step.require("ownerId = :owner", owner=fact.owner_id)
    step.require("ownerType = :type", type=fact.owner_type)
    step.require("amount = :amount", amount=fact.amount)


def _transition(
    payout_id: str, before: PayoutState, after: PayoutState, now_ms: int
) -> UpdateBuilder:
    """Change of a payout's state, to which the caller adds its other fields and conditions."""
    step = UpdateBuilder(payout_key(payout_id))
    step.require("payoutState = :before", before=before)
    step.set("payoutState = :after", after=after)
    step.set("updatedAt = :now", now=now_ms)
    queue_keys = _queue_keys(payout_id, after, now_ms)
    step.set("GSI2PK = :pk", pk=queue_keys["GSI2PK"])
    step.set("GSI2SK = :sk", sk=queue_keys["GSI2SK"])
    return step


def _queue_keys(payout_id: str, state: PayoutState, now_ms: int) -> dict[str, str]:
    return {
        "GSI2PK": payout_queue_pk(state, list_shard_of(payout_id)),
        "GSI2SK": time_sort_key(now_ms, payout_id),
    }
