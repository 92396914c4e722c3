"""What each step writes besides the order: the rider's hands, the stock, the money."""

from collections.abc import Iterable

from dispatch.catalogue.store import Catalogue
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.model import Decision, Order, OrderStatus, PaymentMethod, PaymentState
from dispatch.orders.decision_store import write_decision
from dispatch.orders.store import offered_to
from dispatch.orders.transitions.context import Step, dispatch_of
from dispatch.orders.transitions.lifecycle import parting_of
from dispatch.orders.unit_of_work import Extra, Plan, Planner
from dispatch.riders import store as duty
from ledger.core.cancellation_matrix import Fault, Stage
from ledger.core.facts import Capture, Refund, Settle, TopUp
from ledger.core.order_funds import (
    Fin,
    FinState,
    Guarded,
    Method,
    mark_delivered,
    void_fin,
)
from ledger.dynamodb.table import Write
from ledger.posting.ledger import Ledger
from ledger.records.cash_holds import CASH_LIMIT, release_cash, reserve_cash
from ledger.records.payments import Payment as ProviderPayment
from ledger.records.payments import start_payment
from ledger.records.promotions import Promotion, return_promotion, use_promotion

_MOVED = (Refusal.CONFLICT, "the order's money moved meanwhile; try again")
_MEANINGS = {
    "cash_limit": (Refusal.CASH_LIMIT, "you would carry too much collected cash"),
    "conflict": _MOVED,
    "wrong_state": _MOVED,
    "promo_over": (Refusal.PROMO_REFUSED, "this promotion has just ended", {"reason": "spent"}),
    "promo_used": (Refusal.PROMO_REFUSED, "you have just used this promotion", {"reason": "used"}),
}


class Plans:
    """Builds plans; reads only what a plan needs to know of the catalogue."""

    def __init__(self, catalogue: Catalogue, ledger: Ledger, clock: Clock, capacity: int) -> None:
        self._catalogue = catalogue
        self._ledger = ledger
        self._clock = clock
        self._capacity = capacity

    def placing(self, order: Order, promotion: Promotion | None) -> Plan:
        """The stock and a promotion's budget go down; money in a wallet goes into escrow."""
        extras: list[Extra] = []
        if promotion is not None:
            discount, now_ms = order.pricing.discount, self._clock.now_ms()
            extras.extend(_guarded(use_promotion(promotion, order.user_id, discount, now_ms)))
        if order.vendor_id is not None:
            gone = Refused(Refusal.ITEM_UNAVAILABLE, "an item has just been sold out")
            stock = self._catalogue.reserve_stock(order.vendor_id, order.items)
            extras.extend(Extra(write, gone) for write in stock)
        if order.payment.method is PaymentMethod.WALLET:
            return Plan(extras=extras, fact=capture(order))
        exists = Refused(Refusal.CONFLICT, "this order exists already")
        extras.extend(Extra(write, exists) for write in self._unpaid(order))
        return Plan(extras=extras)

    def _unpaid(self, order: Order) -> list[Write]:
        """Open the money of an order that is paid later."""
        parties = (order.order_id, order.user_id, order.vendor_id, order.pricing)
        if order.payment.method is PaymentMethod.CASH:
            return [self._ledger.fin_cash(*parties)]
        return [
            self._ledger.fin_pending(*parties),
            start_payment(_asked_of_provider(order), self._clock.now_ms()),
        ]

    async def capturing(self, order: Order, step: Step) -> Plan:
        """The provider's money goes into escrow."""
        return Plan(fact=capture(order))

    def offering(self, offers: Iterable[str], decision: Decision | None) -> Planner:
        """Nobody is asked whose hands are full; the index of riders knows it a moment later."""
        keep = explained(decision)

        async def plan(order: Order, step: Step) -> Plan:
            hands = [Extra(duty.has_room(rider, self._capacity), _busy(rider)) for rider in offers]
            return Plan(extras=[*hands, *(await keep(order, step)).extras])

        return plan

    def assigning(self, order: Order, rider: str, offer_id: str) -> Plan:
        """The rider's hands fill, and his cash limit carries what he will collect."""
        busy = Refused(Refusal.CONFLICT, "you carry another order already")
        extras = [Extra(duty.claim(rider, order.order_id, self._capacity), busy)]
        now_ms = self._clock.now_ms()
        if order.payment.method is PaymentMethod.CASH:
            amount = order.pricing.total
            hold = reserve_cash(order.order_id, rider, amount, CASH_LIMIT, now_ms)
            extras.extend(_guarded(hold))
        return Plan(extras=extras, clause=offered_to(rider, offer_id, now_ms))

    async def releasing(self, order: Order, step: Step) -> Plan:
        """The rider's hands empty without a delivery."""
        return Plan(extras=self._freeing(order, "given_back", releases_cash=True))

    async def moving(self, order: Order, step: Step) -> Plan:
        """The same where it is not his doing, and does not count against him."""
        return Plan(extras=self._freeing(order, "called_off", releases_cash=True))

    def delivering(self, order: Order, step: Step, rider: str) -> Plan:
        """The rider's hands empty by a delivery; the escrow may now be split."""
        cash = step.order.payment.collected
        marks = mark_delivered(order.order_id, rider, self._clock.now_ms(), cash)
        hands = self._freeing(order, "delivered", releases_cash=False)
        return Plan(extras=[*_guarded(marks), *hands])

    async def settling(self, order: Order, step: Step) -> Plan:
        """The escrow is split."""
        return Plan(
            fact=Settle(order_id=order.order_id), believed=money_of(order, FinState.DELIVERED)
        )

    async def rejecting(self, order: Order, step: Step) -> Plan:
        """The vendor's no: the stock goes up and what was paid goes back, whole."""
        return await self.undoing(order, step, Fault.VENDOR)

    async def undoing(self, order: Order, step: Step, fault: Fault) -> Plan:
        """The rider's hands empty, the stock goes up, what was paid goes back by the matrix."""
        extras = self._freeing(order, "called_off", releases_cash=True)
        moved = Refused(Refusal.CONFLICT, "the catalogue changed meanwhile; try again")
        extras.extend(self._unpromoting(order, fault))
        # What a rider has fetched comes back to no shelf.
        if order.vendor_id is not None and order.status is not OrderStatus.IN_TRANSIT:
            stock = await self._catalogue.return_stock(order.vendor_id, order.items)
            extras.extend(Extra(write, moved) for write in stock)
        refund = Refund(
            order_id=order.order_id,
            reason=step.order.reason or "called off",
            stage=Stage(order.status.value),
            fault=fault,
            rider_id=order.rider_id,
        )
        if order.payment.state is PaymentState.CAPTURED:
            return Plan(extras=extras, fact=refund, believed=money_of(order, FinState.CAPTURED))
        if order.payment.state is PaymentState.DUE and parting_of(order, fault).paid:
            return Plan(extras=extras, fact=refund, believed=money_of(order, FinState.DUE))
        extras.extend(_guarded(void_fin(order.order_id, self._clock.now_ms())))
        return Plan(extras=extras)

    def _unpromoting(self, order: Order, fault: Fault) -> list[Extra]:
        """A discount that nobody had goes back into its promotion; one that was had stays spent."""
        if order.promo_code is None:
            return []
        is_paid = order.payment.state is PaymentState.CAPTURED
        # What a customer at fault pays to others is his own money first.
        parting = parting_of(order, fault)
        kept = parting.paid if is_paid and parting.by_customer else 0
        if kept > order.pricing.total:
            return []
        amount, now_ms = order.pricing.discount, self._clock.now_ms()
        return _guarded(return_promotion(order.promo_code, order.user_id, amount, now_ms))

    def _freeing(self, order: Order, ending: duty.Ending, *, releases_cash: bool) -> list[Extra]:
        """Writes that empty the hands of the rider who carries the order, if one does."""
        rider = order.rider_id
        if rider is None:
            return []
        gone = Refused(Refusal.CONFLICT, "the rider's hands changed meanwhile; try again")
        extras = [Extra(duty.release(rider, order.order_id, ending), gone)]
        if releases_cash and order.payment.method is PaymentMethod.CASH:
            amount, now_ms = order.pricing.total, self._clock.now_ms()
            extras.extend(_guarded(release_cash(order.order_id, rider, amount, now_ms)))
        return extras


def _guarded(guarded: Guarded) -> list[Extra]:
    """The ledger's writes with what their refusals mean to a client."""
    pairs = zip(guarded.writes, guarded.codes, strict=True)
    return [Extra(write, Refused(*_MEANINGS[code])) for write, code in pairs]


def _busy(rider: str) -> Refused:
    return Refused(Refusal.CONFLICT, "the rider carries another order", {"riderId": rider})


async def rating(order: Order, step: Step) -> Plan:
    """The customer's stars count for the rider, once."""
    if order.rider_id is None or order.rating is not None or step.order.rating is None:
        return Plan()
    never = Refused(Refusal.CONFLICT, "the rating could not be counted")
    return Plan(extras=[Extra(duty.rate(order.rider_id, step.order.rating), never)])


def explained(decision: Decision | None) -> Planner:
    """The reasons of a look are kept beside the order, under the next number."""

    async def plan(order: Order, step: Step) -> Plan:
        if decision is None:
            return Plan()
        number = dispatch_of(order).decisions
        never = Refused(Refusal.CONFLICT, "the decision could not be kept")
        return Plan(extras=[Extra(write_decision(order.order_id, number, decision), never)])

    return plan


async def nothing_else(order: Order, step: Step) -> Plan:
    """The order alone is written."""
    return Plan()


def capture(order: Order) -> Capture:
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


def money_of(order: Order, state: FinState) -> Fin:
    """The order's money as the order tells it, in a state that its status implies."""
    method = Method(order.payment.method.value)
    return Fin(
        order_id=order.order_id,
        fin_state=state,
        method=method,
        user_id=order.user_id,
        vendor_id=order.vendor_id,
        rider_id=order.rider_id if state is FinState.DELIVERED else None,
        pricing=order.pricing,
        escrow=0 if method is Method.CASH else order.pricing.gross,
    )


def _asked_of_provider(order: Order) -> ProviderPayment:
    assert order.payment.provider is not None
    assert order.payment.payment_id is not None
    return ProviderPayment(
        provider=order.payment.provider,
        payment_id=order.payment.payment_id,
        user_id=order.user_id,
        amount=order.pricing.total,
        order_id=order.order_id,
    )


def late_payment(order: Order) -> TopUp:
    """Mobile money for an order that was called off before it came: into the customer's wallet."""
    payment = _asked_of_provider(order)
    return TopUp(
        user_id=payment.user_id,
        amount=payment.amount,
        provider=payment.provider,
        payment_id=payment.payment_id,
    )
