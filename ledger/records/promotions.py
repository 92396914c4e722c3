"""Promotions: what the platform pays of an order's price, within limits that no order may pass.

The discount is in the order's prices from its placement on; what is counted here is how much of a
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

# Where GSI2 lists promotions that stand so; operators make a few a day.
PROMOTION_LIST = "PROMOTIONS"


class PromotionState(StrEnum):
    """Whether a promotion may be used."""

    ACTIVE = "ACTIVE"
    STOPPED = "STOPPED"


class Promotion(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an operator has promised; only its state, `spent` and `uses` ever change.

    Either `percent_bps` of what is bought, at most `cap`, or a fixed `amount`. Units: whole XAF,
    basis points, Unix milliseconds; it holds from `starts_at` until before `ends_at`.
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
    """A price with its discount."""

    promotion: Promotion
    pricing: Pricing


class PromotionRefusal(NamedTuple):
    """Why a promotion does not hold for an order: a word for programs, and one for people."""

    reason: str
    message: str


def promotion_key(code: str) -> Key:
    """Where a promotion is kept."""
    return Key(f"PROMOTION#{checked_id(code)}", "PROMOTION")


def promotion_use_key(code: str, user_id: str) -> Key:
    """Where is kept how often a customer has used a promotion."""
    return Key(f"PROMOTION#{checked_id(code)}", f"USER#{checked_id(user_id)}")


def promotion_list_pk(state: PromotionState) -> str:
    """The list of promotions that stand so, in GSI2."""
    return f"{PROMOTION_LIST}#{state}"


def read_promotion(item: Item) -> Promotion:
    """Decode a PROMOTION item."""
    return msgspec.convert(item, Promotion)


def apply_promotion(
    promotion: Promotion, pricing: Pricing, used: int, now_ms: int
) -> DiscountedPricing | PromotionRefusal:
    """The price with the promotion's discount, or why it has none; `used` is by this customer."""
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
    """What is taken off goods, or off a parcel's fee where there are none."""
    if promotion.percent_bps is None:
        assert promotion.amount is not None, "either a rate or an amount"
        return promotion.amount
    part, _ = split(base, promotion.percent_bps)
    return part if promotion.cap is None else min(part, promotion.cap)


def create_promotion(promotion: Promotion) -> Put:
    """Write a promotion down; a code is used once. DynamoDB: Put PROMOTION if absent."""
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
    """No further order gets it; those that have it keep it. DynamoDB: ACTIVE → STOPPED."""
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
    """An order takes its discount out of the budget, and its customer's turn.

    Refusals: `promo_over` where it was stopped, ended or spent meanwhile, `promo_used` where the
    customer has had it as often as he may.

    DynamoDB: Update PROMOTION and the customer's use of it.
    """
    spend = Update(
        key=promotion_key(promotion.code),
        expression="SET spent = spent + :amount, uses = uses + :one, updatedAt = :now",
        condition="promoState = :active AND endsAt > :now AND spent <= :room",
        values={
            ":amount": checked_amount(discount),
            ":room": promotion.budget - discount,
            ":active": PromotionState.ACTIVE,
            ":one": 1,
            ":now": now_ms,
        },
    )
    turn = Update(
        key=promotion_use_key(promotion.code, user_id),
        expression="SET used = if_not_exists(used, :zero) + :one, updatedAt = :now",
        condition="attribute_not_exists(used) OR used < :limit",
        values={":limit": promotion.per_user, ":zero": 0, ":one": 1, ":now": now_ms},
    )
    return GuardedWrites((spend, turn), ("promo_over", "promo_used"))


def return_promotion(code: str, user_id: str, amount: int, now_ms: int) -> GuardedWrites:
    """An order that was called off gives back its discount and its customer's turn.

    DynamoDB: Update PROMOTION and the customer's use of it.
    """
    unspend = Update(
        key=promotion_key(code),
        expression="SET spent = spent - :amount, uses = uses - :one, updatedAt = :now",
        condition="spent >= :amount",
        values={":amount": checked_amount(amount), ":one": 1, ":now": now_ms},
    )
    turn = Update(
        key=promotion_use_key(code, user_id),
        expression="SET used = used - :one, updatedAt = :now",
        condition="used >= :one",
        values={":one": 1, ":now": now_ms},
    )
    return GuardedWrites((unspend, turn), ("wrong_state", "wrong_state"))
