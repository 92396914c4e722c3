"""Payments at a provider: asked for, then matched with what the provider says was paid."""

from enum import StrEnum
from typing import Any

import msgspec

from ledger.core.facts import payment_pk
from ledger.core.money import checked_amount
from ledger.core.order_funds import IF_ABSENT
from ledger.dynamodb.table import Item, Key, Put, Update


class PaymentState(StrEnum):
    """Where a payment stands with its provider."""

    PENDING = "PENDING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"


class ProviderPayment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Money asked of a customer through a provider. Units: whole XAF.

    With `order_id` it pays that order, without it tops up the customer's wallet.
    """

    provider: str
    payment_id: str
    user_id: str
    amount: int
    order_id: str | None = None
    state: PaymentState = PaymentState.PENDING


def payment_key(provider: str, payment_id: str) -> Key:
    """Where a payment is kept; its entry stands beside it."""
    return Key(payment_pk(provider, payment_id), "PAYMENT")


def read_payment(item: Item) -> ProviderPayment:
    """Decode a PAYMENT item."""
    return msgspec.convert({**item, "state": item["paymentState"]}, ProviderPayment)


def start_payment(payment: ProviderPayment, now_ms: int) -> Put:
    """Write down what was asked before the provider is called. DynamoDB: Put PAYMENT if absent."""
    checked_amount(payment.amount)
    key = payment_key(payment.provider, payment.payment_id)
    fields = msgspec.to_builtins(payment)
    state = fields.pop("state")
    kept = {"paymentState": state, "createdAt": now_ms, "updatedAt": now_ms}
    return Put(item={"PK": key.pk, "SK": key.sk, **fields, **kept}, condition=IF_ABSENT)


def fail_payment(provider: str, payment_id: str, now_ms: int) -> Update:
    """The provider says that nothing was paid. DynamoDB: PAYMENT PENDING → FAILED."""
    return Update(
        key=payment_key(provider, payment_id),
        expression="SET paymentState = :failed, updatedAt = :now",
        condition="paymentState = :pending",
        values={
            ":failed": PaymentState.FAILED,
            ":pending": PaymentState.PENDING,
            ":now": now_ms,
        },
    )


def complete_payment(payment: ProviderPayment, now_ms: int) -> Update:
    """The provider says that it was paid, if it is what was asked for; once.

    A success may follow a failure: the money is there all the same. A payment that nobody asked for
    is written down as it comes.

    DynamoDB: PAYMENT absent | PENDING | FAILED → SUCCESS.
    """
    names = {"provider", "payment_id", "user_id", "amount", "order_id"}
    given = {
        field.encode_name: getattr(payment, field.name)
        for field in msgspec.structs.fields(ProviderPayment)
        if field.name in names and getattr(payment, field.name) is not None
    }
    # Who pays, how much and for what must be what was asked.
    asked = [name for name in ("userId", "amount", "orderId") if name in given]
    same = " AND ".join(f"#{name} = :{name}" for name in asked)
    values: dict[str, Any] = {f":{name}": value for name, value in given.items()}
    return Update(
        key=payment_key(payment.provider, payment.payment_id),
        expression="SET paymentState = :success, updatedAt = :now, "
        + ", ".join(f"#{name} = :{name}" for name in given),
        condition=f"attribute_not_exists(PK) OR (paymentState IN (:pending, :failed) AND {same})",
        names={f"#{name}": name for name in given},
        values={
            **values,
            ":success": PaymentState.SUCCESS,
            ":pending": PaymentState.PENDING,
            ":failed": PaymentState.FAILED,
            ":now": now_ms,
        },
    )
