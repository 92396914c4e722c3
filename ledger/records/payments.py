"""Payments at a provider: requested, then matched with what the provider reports."""

from enum import StrEnum
from typing import Any

import msgspec

from ledger.core.facts import payment_pk
from ledger.core.money import checked_amount
from ledger.core.order_funds import IF_ABSENT
from ledger.dynamodb.table import Item, Key, Put, Update


class PaymentState(StrEnum):
    """State of a payment."""

    PENDING = "PENDING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"


class ProviderPayment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A payment requested from a customer through a provider. Units: whole XAF.

    With `order_id` it pays that order, otherwise it tops up the customer's wallet.
    """

    provider: str
    payment_id: str
    user_id: str
    amount: int
    order_id: str | None = None
    state: PaymentState = PaymentState.PENDING


def payment_key(provider: str, payment_id: str) -> Key:
    """Key of a payment's item; its entry has the same partition."""
    return Key(payment_pk(provider, payment_id), "PAYMENT")


def read_payment(item: Item) -> ProviderPayment:
    """Decode a PAYMENT item."""
    return msgspec.convert({**item, "state": item["paymentState"]}, ProviderPayment)


def start_payment(payment: ProviderPayment, now_ms: int) -> Put:
    """Store a payment before the provider is called. DynamoDB: Put PAYMENT if absent.

    Units: whole XAF. Errors: ValueError for an amount that may not be posted.
    """
    checked_amount(payment.amount)
    key = payment_key(payment.provider, payment.payment_id)
    fields = msgspec.to_builtins(payment)
    state = fields.pop("state")
    times = {"createdAt": now_ms, "updatedAt": now_ms}
    item = {"PK": key.pk, "SK": key.sk, **fields, "paymentState": state, **times}
    return Put(item=item, condition=IF_ABSENT)


def fail_payment(provider: str, payment_id: str, now_ms: int, reason: str | None = None) -> Update:
    """Record that the provider reports a failure, and why. DynamoDB: PAYMENT PENDING → FAILED."""
    return Update(
        key=payment_key(provider, payment_id),
        expression="SET paymentState = :failed, updatedAt = :now, failureReason = :reason",
        condition="paymentState = :pending",
        values={
            ":failed": PaymentState.FAILED,
            ":pending": PaymentState.PENDING,
            ":now": now_ms,
            ":reason": reason,
        },
    )


def complete_payment(payment: ProviderPayment, now_ms: int) -> Update:
    """Record that the provider reports success, once, if it matches what was requested.

    A success may follow a failure: the money was received. A payment that was never requested is
    stored as reported.

    Units: whole XAF. DynamoDB: PAYMENT absent | PENDING | FAILED → SUCCESS.
    """
    names = {"provider", "payment_id", "user_id", "amount", "order_id"}
    reported = {
        field.encode_name: getattr(payment, field.name)
        for field in msgspec.structs.fields(ProviderPayment)
        if field.name in names and getattr(payment, field.name) is not None
    }
    # Payer, amount and purpose must be those requested.
    compared = [name for name in ("userId", "amount", "orderId") if name in reported]
    matches = " AND ".join(f"#{name} = :{name}" for name in compared)
    values: dict[str, Any] = {f":{name}": value for name, value in reported.items()}
    return Update(
        key=payment_key(payment.provider, payment.payment_id),
        expression="SET paymentState = :success, updatedAt = :now, "
        + ", ".join(f"#{name} = :{name}" for name in reported),
        condition=(
            f"attribute_not_exists(PK) OR (paymentState IN (:pending, :failed) AND {matches})"
        ),
        names={f"#{name}": name for name in reported},
        values={
            **values,
            ":success": PaymentState.SUCCESS,
            ":pending": PaymentState.PENDING,
            ":failed": PaymentState.FAILED,
            ":now": now_ms,
        },
    )
