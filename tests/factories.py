"""Factories of valid orders, payments, offers and searches for tests."""

from collections.abc import Mapping
from typing import Any

from dispatch.ids import OfferId, OrderId, RiderId
from dispatch.model import (
    Dispatch,
    DispatchState,
    Offer,
    OfferOutcome,
    Order,
    OrderPayment,
    OrderStatus,
    PastOffer,
    PaymentMethod,
    PaymentState,
    Place,
)
from ledger.core.pricing import DEFAULT_RATES, price_goods, price_package

AKWA = Place(lat=4.0511, lng=9.7085, address="Akwa")
BALI = Place(lat=4.0400, lng=9.6950, address="Bali")
_WITH_RIDER = frozenset(
    {
        DispatchState.ASSIGNED,
        DispatchState.AT_PICKUP,
        DispatchState.PICKED_UP,
        DispatchState.AT_DROPOFF,
        DispatchState.DONE,
    }
)


def a_payment(
    state: PaymentState = PaymentState.CAPTURED, method: PaymentMethod = PaymentMethod.WALLET
) -> OrderPayment:
    """A payment, captured from a wallet by default."""
    return OrderPayment(method=method, state=state, provider="sandbox", payment_id="pay_1")


def a_cash_payment() -> OrderPayment:
    """A cash payment that is due at the dropoff."""
    return OrderPayment(method=PaymentMethod.CASH, state=PaymentState.DUE)


def an_offer(offer_id: str = "ofr_1", made_at_ms: int = 1_000_000, wave: int = 1) -> Offer:
    """An offer with the standard window and grace."""
    return Offer(
        offer_id=OfferId(offer_id),
        wave=wave,
        made_at_ms=made_at_ms,
        expires_at_ms=made_at_ms + 15_000,
        deadline_ms=made_at_ms + 18_000,
        distance_km=1.2,
    )


def a_dispatch(
    state: DispatchState = DispatchState.SEARCHING,
    rider: str | None = None,
    offers: Mapping[str, Offer] | None = None,
    asked: Mapping[str, tuple[str, OfferOutcome]] | None = None,
) -> Dispatch:
    """The rider search of an order; with a rider where the state has one."""
    assigned = rider or ("rdr_1" if state in _WITH_RIDER else None)
    offered = {"rdr_1": an_offer(made_at_ms=2_000_000)} if state is DispatchState.OFFERED else {}
    past = {
        RiderId(rider_id): PastOffer(offer_id=OfferId(offer_id), outcome=outcome, at_ms=0)
        for rider_id, (offer_id, outcome) in (asked or {}).items()
    }
    return Dispatch(
        state=state,
        started_at_ms=1_000_000,
        rider_id=RiderId(assigned) if assigned else None,
        offer_id=OfferId("ofr_won") if assigned else None,
        offers={RiderId(r): o for r, o in (offered if offers is None else offers).items()},
        asked=past,
    )


def an_order(
    status: OrderStatus = OrderStatus.PENDING,
    state: DispatchState | None = None,
    payment: OrderPayment | None = None,
    version: int = 1,
    **dispatch: Any,
) -> Order:
    """A FOOD order of usr_1 from ven_1 for 10,000 XAF plus delivery."""
    return Order(
        order_id=OrderId("ord_1"),
        order_type="FOOD",
        user_id="usr_1",
        vendor_id="ven_1",
        status=status,
        pricing=price_goods(DEFAULT_RATES["FOOD"], 10_000),
        pickup=AKWA,
        dropoff=BALI,
        payment=payment or a_payment(),
        created_at=1_000_000,
        updated_at=1_000_000,
        version=version,
        dispatch=a_dispatch(state, **dispatch) if state else None,
    )


def a_parcel_order(
    status: OrderStatus = OrderStatus.PENDING,
    state: DispatchState | None = None,
    payment: OrderPayment | None = None,
    version: int = 1,
) -> Order:
    """A PACKAGE order of usr_1 over three kilometres."""
    return Order(
        order_id=OrderId("ord_1"),
        order_type="PACKAGE",
        user_id="usr_1",
        status=status,
        pricing=price_package(DEFAULT_RATES["PACKAGE"], 3_000, fragile=False),
        pickup=AKWA,
        dropoff=BALI,
        payment=payment or a_payment(),
        created_at=1_000_000,
        updated_at=1_000_000,
        version=version,
        dispatch=a_dispatch(state) if state else None,
    )
