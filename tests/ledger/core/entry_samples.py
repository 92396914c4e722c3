"""Order funds for tests of planning, and the legs of a planned entry."""

import msgspec

from ledger.core.entries import JournalEntry
from ledger.core.facts import Rejection
from ledger.core.order_funds import FundsState, OrderFunds, PaymentMethod
from ledger.core.pricing import DEFAULT_RATES, Pricing, price_goods

# A basket of 11,999: vendor 10,200, rider 1,500, platform 1,799; 13,499 in all.
FOOD_PRICING = price_goods(DEFAULT_RATES["FOOD"], 11_999)


def funds_of(
    pricing: Pricing = FOOD_PRICING,
    method: PaymentMethod = PaymentMethod.WALLET,
    **changes: object,
) -> OrderFunds:
    """Funds of a delivered order; cash orders have no escrow, PACKAGE orders no vendor."""
    funds = OrderFunds(
        order_id="o1",
        funds_state=FundsState.DELIVERED,
        method=method,
        user_id="u",
        vendor_id=None if pricing.service == "PACKAGE" else "v",
        rider_id="r",
        pricing=pricing,
        escrow=0 if method is PaymentMethod.CASH else pricing.gross,
    )
    return msgspec.structs.replace(funds, **changes)


def legs_of(entry: JournalEntry | Rejection) -> dict[str, int]:
    """Amounts of an entry by account; the entry must not be a rejection."""
    assert isinstance(entry, JournalEntry)
    return {leg.account: leg.amount for leg in entry.legs}
