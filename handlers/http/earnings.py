"""What a rider or vendor earned: today, this week, ever, and what is delivered but not settled."""

import asyncio
from typing import Any

from dispatch.model import Order, OrderStatus
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors
from dispatch.storage.paging import PageRequest
from handlers.app.contexts import Desk
from ledger.core.accounts import owner as wallet
from ledger.core.entries import DAY_MS, DAY_OFFSET_MS
from ledger.core.money import CURRENCY
from ledger.reporting.history import Earnings

# Deliveries that wait to be settled; they wait a second, so that more of them are a fault that the
# operators know of.
UNSETTLED_MAX = 100
# Monday is the first day of a week, and 1970-01-01 was a Thursday. Source: ISO 8601.
_EPOCH_WEEKDAY = 3


def today_start_ms(now_ms: int) -> int:
    """When today began in Douala."""
    return now_ms - (now_ms + DAY_OFFSET_MS) % DAY_MS


def week_start_ms(now_ms: int) -> int:
    """When Monday began in Douala."""
    today = today_start_ms(now_ms)
    days = (today + DAY_OFFSET_MS) // DAY_MS
    return today - (days + _EPOCH_WEEKDAY) % 7 * DAY_MS


async def earnings_of(desk: Desk, owner_type: str, owner_id: str) -> dict[str, Any]:
    """The earnings of one wallet.

    Units: whole XAF.

    Errors: StoreUnavailable.
    """
    now_ms = desk.clock.now_ms()
    account = wallet(owner_type, owner_id)
    moments = (today_start_ms(now_ms), week_start_ms(now_ms))
    with translate_dynamodb_errors():
        balance, (today, week), (waiting, _) = await asyncio.gather(
            desk.statements.balance(owner_type, owner_id),
            desk.history.earned_since(account, *moments),
            desk.orders.list_for(
                owner_type.lower(),
                owner_id,
                OrderStatus.DELIVERED.value,
                PageRequest(UNSETTLED_MAX),
            ),
        )
    shares = [_share_xaf(order, owner_type) for order in waiting]
    return {
        "currency": CURRENCY,
        "today": _earned_view(today),
        "week": _earned_view(week),
        "settled": {"amount": balance["totalEarned"]},
        "pending": _earned_view(Earnings(sum(shares), len(shares))),
        "availableBalance": balance["availableBalance"],
    }


def _share_xaf(order: Order, owner_type: str) -> int:
    pricing = order.pricing
    return pricing.vendor_share if owner_type == "VENDOR" else pricing.rider_total


def _earned_view(earned: Earnings) -> dict[str, int]:
    return {"amount": earned.amount, "count": earned.line_count}
