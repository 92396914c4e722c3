"""Earnings of a rider or vendor: today, this week, ever, and delivered but not yet settled."""

import asyncio
from dataclasses import dataclass
from typing import TypedDict

from dispatch.model import Order, OrderStatus
from dispatch.orders.store import OrderStore
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors
from dispatch.storage.paging import PageRequest
from ledger.core.accounts import owner as wallet_account
from ledger.core.entries import DAY_MS, DAY_OFFSET_MS
from ledger.core.money import CURRENCY
from ledger.reporting.history import Earnings, History
from ledger.reporting.statements import Statements

# Deliveries counted as not yet settled. Source: chosen; settlement takes about a second, so that
# more of them at once are a fault, which raises an alert elsewhere.
UNSETTLED_MAX = 100
# Monday is the first day of a week, and 1970-01-01 was a Thursday. Source: ISO 8601.
_EPOCH_WEEKDAY = 3


class EarnedView(TypedDict):
    """Earnings of a period. Units: whole XAF."""

    amount: int
    count: int


class SettledView(TypedDict):
    """All earnings ever settled. Units: whole XAF."""

    amount: int


class EarningsView(TypedDict):
    """The earnings of one wallet. Units: whole XAF."""

    currency: str
    today: EarnedView
    week: EarnedView
    settled: SettledView
    pending: EarnedView
    availableBalance: int


def today_start_ms(now_ms: int) -> int:
    """When today began in Douala. Units: Unix milliseconds."""
    return now_ms - (now_ms + DAY_OFFSET_MS) % DAY_MS


def week_start_ms(now_ms: int) -> int:
    """When this week's Monday began in Douala. Units: Unix milliseconds."""
    today = today_start_ms(now_ms)
    days = (today + DAY_OFFSET_MS) // DAY_MS
    return today - (days + _EPOCH_WEEKDAY) % 7 * DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class EarningsReport:
    """Reads the earnings of vendors and riders from the ledger and from their orders."""

    statements: Statements
    history: History
    orders: OrderStore

    async def earnings_of(self, owner_type: str, owner_id: str, now_ms: int) -> EarningsView:
        """The earnings of one vendor or rider.

        Units: Unix milliseconds, whole XAF.
        Errors: StoreUnavailable.
        """
        account = wallet_account(owner_type, owner_id)
        delivered = OrderStatus.DELIVERED.value
        with translate_dynamodb_errors():
            balance, (today, week), (unsettled, _) = await asyncio.gather(
                self.statements.balance(owner_type, owner_id),
                self.history.earned_since(account, today_start_ms(now_ms), week_start_ms(now_ms)),
                self.orders.list_for(
                    owner_type.lower(), owner_id, delivered, PageRequest(UNSETTLED_MAX)
                ),
            )
        shares = [_share_xaf(order, owner_type) for order in unsettled]
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


def _earned_view(earned: Earnings) -> EarnedView:
    return {"amount": earned.amount, "count": earned.line_count}
