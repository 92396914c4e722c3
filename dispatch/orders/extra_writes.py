"""What each step writes besides the order: the rider's hands, the stock, the money."""

from collections.abc import Iterable

from dispatch.catalogue.store import Catalogue
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.model import Decision, Order, OrderStatus, PaymentMethod, PaymentState
from dispatch.orders.decision_store import write_decision
from dispatch.orders.store import offered_to
from dispatch.orders.transitions.context import Transition, dispatch_of
from dispatch.orders.transitions.lifecycle import cancellation_split_of
from dispatch.orders.unit_of_work import ExtraWrite, ExtraWrites, ExtraWritesFactory
from dispatch.riders import store as duty
from ledger.core.cancellation_matrix import Fault, Stage
from ledger.core.facts import Capture, Refund, Settle, TopUp
from ledger.core.order_funds import (
    FundingMethod,
    FundsState,
    GuardedWrites,
    OrderFunds,
    mark_delivered,
    void_funds,
)
from ledger.dynamodb.table import Write
from ledger.posting.ledger import Ledger
from ledger.records.cash_holds import CASH_LIMIT_XAF, release_cash, reserve_cash
from ledger.records.payments import ProviderPayment, start_payment
from ledger.records.promotions import Promotion, return_promotion, use_promotion

_FUNDS_CHANGED = (Refusal.CONFLICT, "the order's money moved meanwhile; try again")
_REFUSALS_BY_CODE = {
    "cash_limit": (Refusal.CASH_LIMIT, "you would carry too much collected cash"),
    "conflict": _FUNDS_CHANGED,
    "wrong_state": _FUNDS_CHANGED,
    "promo_over": (Refusal.PROMO_REFUSED, "this promotion has just ended", {"reason": "spent"}),
    "promo_used": (Refusal.PROMO_REFUSED, "you have just used this promotion", {"reason": "used"}),
}


class ExtraWritesBuilder:
    """Builds plans; reads only what a plan needs to know of the catalogue."""

    def __init__(self, catalogue: Catalogue, ledger: Ledger, clock: Clock, capacity: int) -> None:
        self._catalogue = catalogue
        self._ledger = ledger
        self._clock = clock
        self._capacity = capacity

    def for_placement(self, order: Order, promotion: Promotion | None) -> ExtraWrites:
        """The stock and a promotion's budget go down; money in a wallet goes into escrow."""
        extras: list[ExtraWrite] = []
        if promotion is not None:
            discount, now_ms = order.pricing.discount, self._clock.now_ms()
            extras.extend(_with_refusals(use_promotion(promotion, order.user_id, discount, now_ms)))
        if order.vendor_id is not None:
            gone = Refused(Refusal.ITEM_UNAVAILABLE, "an item has just been sold out")
            stock = self._catalogue.reserve_stock(order.vendor_id, order.items)
            extras.extend(ExtraWrite(write, gone) for write in stock)
        if order.payment.method is PaymentMethod.WALLET:
            return ExtraWrites(writes=extras, fact=capture_of(order))
        exists = Refused(Refusal.CONFLICT, "this order exists already")
        extras.extend(ExtraWrite(write, exists) for write in self._open_unpaid_funds(order))
        return ExtraWrites(writes=extras)

    def _open_unpaid_funds(self, order: Order) -> list[Write]:
        """Open the money of an order that is paid later."""
        parties = (order.order_id, order.user_id, order.vendor_id, order.pricing)
        if order.payment.method is PaymentMethod.CASH:
            return [self._ledger.open_cash_funds(*parties)]
        return [
            self._ledger.open_pending_funds(*parties),
            start_payment(_provider_payment(order), self._clock.now_ms()),
        ]

    async def for_capture(self, order: Order, transition: Transition) -> ExtraWrites:
        """The provider's money goes into escrow."""
        return ExtraWrites(fact=capture_of(order))

    def for_offers(self, rider_ids: Iterable[str], decision: Decision | None) -> ExtraWritesFactory:
        """Nobody is asked whose hands are full; the index of riders knows it a moment later."""
        keep = decision_writes(decision)

        async def plan(order: Order, step: Transition) -> ExtraWrites:
            hands = [
                ExtraWrite(duty.check_capacity(rider, self._capacity), _rider_busy(rider))
                for rider in rider_ids
            ]
            return ExtraWrites(writes=[*hands, *(await keep(order, step)).writes])

        return plan

    def for_assignment(self, order: Order, rider: str, offer_id: str) -> ExtraWrites:
        """The rider's hands fill, and his cash limit carries what he will collect."""
        busy = Refused(Refusal.CONFLICT, "you carry another order already")
        extras = [ExtraWrite(duty.claim_order(rider, order.order_id, self._capacity), busy)]
        now_ms = self._clock.now_ms()
        if order.payment.method is PaymentMethod.CASH:
            amount = order.pricing.total
            hold = reserve_cash(order.order_id, rider, amount, CASH_LIMIT_XAF, now_ms)
            extras.extend(_with_refusals(hold))
        return ExtraWrites(writes=extras, condition=offered_to(rider, offer_id, now_ms))

    async def for_release(self, order: Order, transition: Transition) -> ExtraWrites:
        """The rider's hands empty without a delivery."""
        return ExtraWrites(writes=self._release_rider(order, "given_back", releases_cash=True))

    async def for_reassignment(self, order: Order, transition: Transition) -> ExtraWrites:
        """The same where it is not his doing, and does not count against him."""
        return ExtraWrites(writes=self._release_rider(order, "called_off", releases_cash=True))

    def for_delivery(self, order: Order, transition: Transition, rider: str) -> ExtraWrites:
        """The rider's hands empty by a delivery; the escrow may now be split."""
        cash = transition.order.payment.collected
        marks = mark_delivered(order.order_id, rider, self._clock.now_ms(), cash)
        hands = self._release_rider(order, "delivered", releases_cash=False)
        return ExtraWrites(writes=[*_with_refusals(marks), *hands])

    async def for_settlement(self, order: Order, transition: Transition) -> ExtraWrites:
        """The escrow is split."""
        return ExtraWrites(
            fact=Settle(order_id=order.order_id),
            expected_funds=funds_of(order, FundsState.DELIVERED),
        )

    async def for_rejection(self, order: Order, transition: Transition) -> ExtraWrites:
        """The vendor's no: the stock goes up and what was paid goes back, whole."""
        return await self.for_cancellation(order, transition, Fault.VENDOR)

    async def for_cancellation(
        self, order: Order, transition: Transition, fault: Fault
    ) -> ExtraWrites:
        """The rider's hands empty, the stock goes up, what was paid goes back by the matrix."""
        extras = self._release_rider(order, "called_off", releases_cash=True)
        moved = Refused(Refusal.CONFLICT, "the catalogue changed meanwhile; try again")
        extras.extend(self._return_promotion(order, fault))
        # What a rider has fetched comes back to no shelf.
        if order.vendor_id is not None and order.status is not OrderStatus.IN_TRANSIT:
            stock = await self._catalogue.return_stock(order.vendor_id, order.items)
            extras.extend(ExtraWrite(write, moved) for write in stock)
        refund = Refund(
            order_id=order.order_id,
            reason=transition.order.reason or "called off",
            stage=Stage(order.status.value),
            fault=fault,
            rider_id=order.rider_id,
        )
        if order.payment.state is PaymentState.CAPTURED:
            return ExtraWrites(
                writes=extras, fact=refund, expected_funds=funds_of(order, FundsState.CAPTURED)
            )
        if (
            order.payment.state is PaymentState.DUE
            and cancellation_split_of(order, fault).compensation
        ):
            return ExtraWrites(
                writes=extras, fact=refund, expected_funds=funds_of(order, FundsState.DUE)
            )
        extras.extend(_with_refusals(void_funds(order.order_id, self._clock.now_ms())))
        return ExtraWrites(writes=extras)

    def _return_promotion(self, order: Order, fault: Fault) -> list[ExtraWrite]:
        """A discount that nobody had goes back into its promotion; one that was had stays spent."""
        if order.promo_code is None:
            return []
        is_paid = order.payment.state is PaymentState.CAPTURED
        # What a customer at fault pays to others is his own money first.
        parting = cancellation_split_of(order, fault)
        kept = parting.compensation if is_paid and parting.is_customer_fault else 0
        if kept > order.pricing.total:
            return []
        amount, now_ms = order.pricing.discount, self._clock.now_ms()
        return _with_refusals(return_promotion(order.promo_code, order.user_id, amount, now_ms))

    def _release_rider(
        self, order: Order, ending: duty.ReleaseReason, *, releases_cash: bool
    ) -> list[ExtraWrite]:
        """Writes that empty the hands of the rider who carries the order, if one does."""
        rider = order.rider_id
        if rider is None:
            return []
        gone = Refused(Refusal.CONFLICT, "the rider's hands changed meanwhile; try again")
        extras = [ExtraWrite(duty.release_order(rider, order.order_id, ending), gone)]
        if releases_cash and order.payment.method is PaymentMethod.CASH:
            amount, now_ms = order.pricing.total, self._clock.now_ms()
            extras.extend(_with_refusals(release_cash(order.order_id, rider, amount, now_ms)))
        return extras


def _with_refusals(guarded: GuardedWrites) -> list[ExtraWrite]:
    """The ledger's writes with what their refusals mean to a client."""
    pairs = zip(guarded.writes, guarded.codes, strict=True)
    return [ExtraWrite(write, Refused(*_REFUSALS_BY_CODE[code])) for write, code in pairs]


def _rider_busy(rider: str) -> Refused:
    return Refused(Refusal.CONFLICT, "the rider carries another order", {"riderId": rider})


async def rating_writes(order: Order, transition: Transition) -> ExtraWrites:
    """The customer's stars count for the rider, once."""
    if order.rider_id is None or order.rating is not None or transition.order.rating is None:
        return ExtraWrites()
    never = Refused(Refusal.CONFLICT, "the rating could not be counted")
    return ExtraWrites(
        writes=[ExtraWrite(duty.rate_rider(order.rider_id, transition.order.rating), never)]
    )


def decision_writes(decision: Decision | None) -> ExtraWritesFactory:
    """The reasons of a look are kept beside the order, under the next number."""

    async def plan(order: Order, step: Transition) -> ExtraWrites:
        if decision is None:
            return ExtraWrites()
        number = dispatch_of(order).decisions
        never = Refused(Refusal.CONFLICT, "the decision could not be kept")
        return ExtraWrites(
            writes=[ExtraWrite(write_decision(order.order_id, number, decision), never)]
        )

    return plan


async def no_extra_writes(order: Order, transition: Transition) -> ExtraWrites:
    """The order alone is written."""
    return ExtraWrites()


def capture_of(order: Order) -> Capture:
    """The customer's money into the order's escrow."""
    method = order.payment.method
    assert method is not PaymentMethod.CASH, "cash is captured by a rider's hands"
    return Capture(
        order_id=order.order_id,
        user_id=order.user_id,
        vendor_id=order.vendor_id,
        method="WALLET" if method is PaymentMethod.WALLET else "MOBILE_MONEY",
        pricing=order.pricing,
        payment_id=order.payment.payment_id,
        provider=order.payment.provider,
    )


def funds_of(order: Order, state: FundsState) -> OrderFunds:
    """The order's money as the order tells it, in a state that its status implies."""
    method = FundingMethod(order.payment.method.value)
    return OrderFunds(
        order_id=order.order_id,
        funds_state=state,
        method=method,
        user_id=order.user_id,
        vendor_id=order.vendor_id,
        rider_id=order.rider_id if state is FundsState.DELIVERED else None,
        pricing=order.pricing,
        escrow=0 if method is FundingMethod.CASH else order.pricing.gross,
    )


def _provider_payment(order: Order) -> ProviderPayment:
    assert order.payment.provider is not None
    assert order.payment.payment_id is not None
    return ProviderPayment(
        provider=order.payment.provider,
        payment_id=order.payment.payment_id,
        user_id=order.user_id,
        amount=order.pricing.total,
        order_id=order.order_id,
    )


def late_payment_top_up(order: Order) -> TopUp:
    """Mobile money for an order that was called off before it came: into the customer's wallet."""
    payment = _provider_payment(order)
    return TopUp(
        user_id=payment.user_id,
        amount=payment.amount,
        provider=payment.provider,
        payment_id=payment.payment_id,
    )
