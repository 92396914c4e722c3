"""Promotions: discounts that the platform pays, within a budget and a number of uses.

The discount is part of an order's prices from its placement. These items count how much of a
promotion is spent and by whom, in the transaction that places the order.
"""

from enum import StrEnum
from typing import NamedTuple

import msgspec

from ledger.core.accounts import checked_id
from ledger.core.money import checked_amount, split
from ledger.core.order_funds import IF_ABSENT, GuardedWrites
from ledger.core.pricing import Pricing, Service, with_discount
from ledger.dynamodb.table import (
    Item,
    Key,
    Put,
    Update,
    time_sort_key,
)

# Partition of GSI2 that lists promotions by state; operators create a few a day.
PROMOTION_LIST = "PROMOTIONS"


class PromotionState(StrEnum):
    """Whether a promotion may be used."""

    ACTIVE = "ACTIVE"
    STOPPED = "STOPPED"


class Promotion(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A promotion; only its state, `spent` and `uses` change after its creation.

    Either `percent_bps` of the goods' price, at most `cap`, or a fixed `amount`. Valid from
    `starts_at` until before `ends_at`. Units: whole XAF, basis points, Unix milliseconds.
    """

    code: str
    services: tuple[Service, ...]
    starts_at: int
    ends_at: int
    per_user: int
    budget: int
    created_by: str
    created_at: int
    updated_at: int
    percent_bps: int | None = None
    amount: int | None = None
    cap: int | None = None
    min_order_amount: int = 0
    spent: int = 0
    uses: int = 0
    promo_state: PromotionState = PromotionState.ACTIVE


class DiscountedPricing(NamedTuple):
    """A price with a promotion's discount."""

    promotion: Promotion
    pricing: Pricing


class PromotionRefusal(NamedTuple):
    """Why a promotion does not apply to an order: a code for programs and a message for people."""

    reason: str
    message: str


def promotion_key(code: str) -> Key:
    """Key of a promotion's item."""
    return Key(f"PROMOTION#{checked_id(code)}", "PROMOTION")


def promotion_use_key(code: str, user_id: str) -> Key:
    """Key of the item that counts a customer's uses of a promotion."""
    return Key(f"PROMOTION#{checked_id(code)}", f"USER#{checked_id(user_id)}")


def promotion_list_pk(state: PromotionState) -> str:
    """Partition of the list of promotions in this state, in GSI2."""
    return f"{PROMOTION_LIST}#{state}"


def read_promotion(item: Item) -> Promotion:
    """Decode a PROMOTION item."""
    return msgspec.convert(item, Promotion)


def apply_promotion(
    promotion: Promotion, pricing: Pricing, used: int, now_ms: int
) -> DiscountedPricing | PromotionRefusal:
    """Apply a promotion to a price, or say why it does not apply.

    `used` is how often this customer has used it. Units: whole XAF, Unix milliseconds.
    """
    base = pricing.subtotal or pricing.delivery_fee
    if promotion.promo_state is not PromotionState.ACTIVE:
        return PromotionRefusal("stopped", "this promotion has ended")
    if now_ms < promotion.starts_at:
        return PromotionRefusal("not_yet", "this promotion has not begun")
    if now_ms >= promotion.ends_at:
        return PromotionRefusal("over", "this promotion has ended")
    if pricing.service not in promotion.services:
        return PromotionRefusal("service", f"this promotion is not for {pricing.service}")
    if base < promotion.min_order_amount:
        least = promotion.min_order_amount
        return PromotionRefusal("minimum", f"this promotion is for orders of {least} XAF or more")
    if used >= promotion.per_user:
        return PromotionRefusal("used", "you have used this promotion already")
    priced = with_discount(pricing, _discount_amount(promotion, base))
    if not priced.discount:
        return PromotionRefusal("nothing", "there is nothing to take off this order")
    if priced.discount > promotion.budget - promotion.spent:
        return PromotionRefusal("spent", "this promotion is used up")
    return DiscountedPricing(promotion, priced)


def _discount_amount(promotion: Promotion, base: int) -> int:
    """Discount on the goods, or on the delivery fee of a PACKAGE order."""
    if promotion.percent_bps is None:
        assert promotion.amount is not None, "either a rate or an amount"
        return promotion.amount
    discount, _ = split(base, promotion.percent_bps)
    return discount if promotion.cap is None else min(discount, promotion.cap)


def create_promotion(promotion: Promotion) -> Put:
    """Store a promotion under its code. DynamoDB: Put PROMOTION if absent. Units: whole XAF."""
    checked_amount(promotion.budget)
    key = promotion_key(promotion.code)
    return Put(
        item={
            "PK": key.pk,
            "SK": key.sk,
            **msgspec.to_builtins(promotion),
            "GSI2PK": promotion_list_pk(promotion.promo_state),
            "GSI2SK": time_sort_key(promotion.created_at, promotion.code),
        },
        condition=IF_ABSENT,
    )


def stop_promotion(code: str, now_ms: int) -> Update:
    """Stop a promotion for further orders; placed orders keep it. DynamoDB: ACTIVE → STOPPED."""
    return Update(
        key=promotion_key(code),
        expression="SET promoState = :stopped, updatedAt = :now, GSI2PK = :pk",
        condition="promoState = :active",
        values={
            ":stopped": PromotionState.STOPPED,
            ":active": PromotionState.ACTIVE,
            ":now": now_ms,
            ":pk": promotion_list_pk(PromotionState.STOPPED),
        },
    )


def use_promotion(promotion: Promotion, user_id: str, discount: int, now_ms: int) -> GuardedWrites:
    """Take an order's discount from the budget, and count the customer's use.

    Codes: `promo_over` if the promotion was stopped, ended or spent meanwhile, `promo_used` if the
    customer has used it as often as allowed.

    Units: whole XAF. DynamoDB: Update PROMOTION and the customer's use of it.
    """
    spend = Update(
        key=promotion_key(promotion.code),
        expression="SET spent = spent + :amount, uses = uses + :one, updatedAt = :now",
        condition="promoState = :active AND endsAt > :now AND spent <= :budget_left",
        values={
            ":amount": checked_amount(discount),
            ":budget_left": promotion.budget - discount,
            ":active": PromotionState.ACTIVE,
            ":one": 1,
            ":now": now_ms,
        },
    )
    customer_use = Update(
        key=promotion_use_key(promotion.code, user_id),
        expression="SET used = if_not_exists(used, :zero) + :one, updatedAt = :now",
        condition="attribute_not_exists(used) OR used < :limit",
        values={":limit": promotion.per_user, ":zero": 0, ":one": 1, ":now": now_ms},
    )
    return GuardedWrites((spend, customer_use), ("promo_over", "promo_used"))


def return_promotion(code: str, user_id: str, amount: int, now_ms: int) -> GuardedWrites:
    """Return a cancelled order's discount to the budget, and the customer's use.

    Units: whole XAF. DynamoDB: Update PROMOTION and the customer's use of it.
    """
    unspend = Update(
        key=promotion_key(code),
        expression="SET spent = spent - :amount, uses = uses - :one, updatedAt = :now",
        condition="spent >= :amount",
        values={":amount": checked_amount(amount), ":one": 1, ":now": now_ms},
    )
    customer_use = Update(
        key=promotion_use_key(code, user_id),
        expression="SET used = used - :one, updatedAt = :now",
        condition="used >= :one",
        values={":one": 1, ":now": now_ms},
    )
    return GuardedWrites((unspend, customer_use), ("wrong_state", "wrong_state"))
