"""Writes that belong to a transition besides the order: rider workload, stock, promotion, money."""

from collections.abc import Iterable

from dispatch.catalogue.store import Catalogue
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.ids import RiderId
from dispatch.model import Decision, Order, OrderStatus, PaymentMethod, PaymentState
from dispatch.orders.decision_store import write_decision
from dispatch.orders.ledger_facts import (
    capture_of,
    delivered_cash_of,
    funds_of,
    provider_payment_of,
)
from dispatch.orders.standing_checks import StandingChecks
from dispatch.orders.store import offered_to
from dispatch.orders.transitions.context import Transition, dispatch_of
from dispatch.orders.transitions.lifecycle import cancellation_split_of
from dispatch.orders.unit_of_work import ExtraWrite, ExtraWrites, ExtraWritesFactory
from dispatch.riders import store as rider_store
from ledger.core.cancellation_matrix import Fault, Stage
from ledger.core.facts import Refund, Settle
from ledger.core.order_funds import FundsState, GuardedWrites, mark_delivered, void_funds
from ledger.dynamodb.table import Item, Write
from ledger.posting.ledger import Ledger
from ledger.records.cash_holds import (
    CASH_LIMIT_XAF,
    HoldChange,
    change_hold,
    release_cash,
    reserve_cash,
)
from ledger.records.debts import check_no_debt, debt_of
from ledger.records.payments import start_payment
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
    """Builds the extra writes of each transition; `capacity` is how many orders a rider carries."""

    def __init__(
        self,
        catalogue: Catalogue,
        ledger: Ledger,
        clock: Clock,
        capacity: int,
        standing: StandingChecks,
    ) -> None:
        self._standing = standing
        self._catalogue = catalogue
        self._ledger = ledger
        self._clock = clock
        self._capacity = capacity

    def for_placement(self, order: Order, promotion: Promotion | None) -> ExtraWrites:
        """Reserve the stock, use the promotion, open the order's funds; a wallet pays at once.

        Customer and vendor must be in good standing; who owes money from another order does not
        pay in cash.
        """
        extras = [self._standing.of_customer(order.user_id)]
        if order.vendor_id is not None:
            extras.append(self._standing.of_vendor(order.vendor_id))
        if promotion is not None:
            discount, now_ms = order.pricing.discount, self._clock.now_ms()
            extras.extend(_with_refusals(use_promotion(promotion, order.user_id, discount, now_ms)))
        if order.vendor_id is not None:
            sold_out = Refused(Refusal.ITEM_UNAVAILABLE, "an item has just been sold out")
            stock = self._catalogue.reserve_stock(order.vendor_id, order.items)
            extras.extend(ExtraWrite(write, sold_out) for write in stock)
        if order.payment.method is PaymentMethod.WALLET:
            return ExtraWrites(writes=extras, fact=capture_of(order))
        if order.payment.method is PaymentMethod.CASH:
            no_debt = check_no_debt("USER", order.user_id)
            extras.append(ExtraWrite(no_debt, _debt_open(None), _debt_open))
        exists = Refused(Refusal.CONFLICT, "this order exists already")
        extras.extend(ExtraWrite(write, exists) for write in self._open_unpaid_funds(order))
        return ExtraWrites(writes=extras)

    def _open_unpaid_funds(self, order: Order) -> list[Write]:
        """Open the funds of an order that is paid later."""
        parties = (order.order_id, order.user_id, order.vendor_id, order.pricing)
        if order.payment.method is PaymentMethod.CASH:
            return [self._ledger.open_cash_funds(*parties)]
        return [
            self._ledger.open_pending_funds(*parties),
            start_payment(provider_payment_of(order), self._clock.now_ms()),
        ]

    async def for_capture(self, order: Order, transition: Transition) -> ExtraWrites:
        """Move the provider's money into escrow."""
        return ExtraWrites(fact=capture_of(order))

    def for_offers(
        self, rider_ids: Iterable[RiderId], decision: Decision | None
    ) -> ExtraWritesFactory:
        """Check that the riders are in good standing and may carry one more; store the decision.

        The geo index learns a moment later than DynamoDB that a rider is busy.
        """
        decision_writes_for = decision_writes(decision)

        async def extra_writes_for(order: Order, transition: Transition) -> ExtraWrites:
            checks: list[ExtraWrite] = []
            for rider_id in rider_ids:
                has_room = rider_store.check_capacity(rider_id, self._capacity)
                checks.append(self._standing.of_rider(rider_id))
                checks.append(ExtraWrite(has_room, _rider_busy(rider_id)))
            stored = await decision_writes_for(order, transition)
            return ExtraWrites(writes=[*checks, *stored.writes])

        return extra_writes_for

    def for_assignment(self, order: Order, rider_id: RiderId, offer_id: str) -> ExtraWrites:
        """Add the order to the rider's workload, and reserve the cash that it will collect.

        A rider who was suspended while the offer was open does not get the order.
        """
        busy = Refused(Refusal.CONFLICT, "you carry another order already")
        claim = rider_store.claim_order(rider_id, order.order_id, self._capacity)
        extras = [self._standing.of_rider(rider_id), ExtraWrite(claim, busy)]
        now_ms = self._clock.now_ms()
        if order.payment.method is PaymentMethod.CASH:
            amount = order.pricing.total
            hold = reserve_cash(order.order_id, rider_id, amount, CASH_LIMIT_XAF, now_ms)
            extras.extend(_with_refusals(hold))
        return ExtraWrites(writes=extras, condition=offered_to(rider_id, offer_id, now_ms))

    async def for_release(self, order: Order, transition: Transition) -> ExtraWrites:
        """Take the order out of the rider's workload; it counts as given back."""
        return ExtraWrites(writes=self._release_rider(order, "given_back", releases_cash=True))

    async def for_reassignment(self, order: Order, transition: Transition) -> ExtraWrites:
        """Take the order out of the rider's workload; it does not count against the rider."""
        return ExtraWrites(writes=self._release_rider(order, "called_off", releases_cash=True))

    def for_delivery(self, order: Order, transition: Transition, rider_id: RiderId) -> ExtraWrites:
        """Take the order out of the rider's workload, and mark its funds as ready to settle.

        The hold on the rider's cash becomes what it owes.
        """
        cash, now_ms = delivered_cash_of(transition.order), self._clock.now_ms()
        extras = _with_refusals(mark_delivered(order.order_id, rider_id, now_ms, cash))
        total = order.pricing.total
        if cash is not None and cash.owed != total:
            change = HoldChange(before=total, after=cash.owed)
            extras.extend(_with_refusals(change_hold(order.order_id, rider_id, change, now_ms)))
        released = self._release_rider(order, "delivered", releases_cash=False)
        return ExtraWrites(writes=[*extras, *released])

    async def for_settlement(self, order: Order, transition: Transition) -> ExtraWrites:
        """Split the order's escrow."""
        return ExtraWrites(
            fact=Settle(order_id=order.order_id),
            expected_funds=funds_of(order, FundsState.DELIVERED),
        )

    async def for_rejection(self, order: Order, transition: Transition) -> ExtraWrites:
        """Return the stock, and give the customer back all that was paid."""
        return await self.for_cancellation(order, transition, Fault.VENDOR)

    async def for_cancellation(
        self, order: Order, transition: Transition, fault: Fault
    ) -> ExtraWrites:
        """Release the rider, return the stock, and divide the money by the cancellation matrix."""
        extras = self._release_rider(order, "called_off", releases_cash=True)
        extras.extend(self._return_promotion(order, fault))
        extras.extend(await self._return_stock(order))
        refund = Refund(
            order_id=order.order_id,
            reason=transition.order.reason or "cancelled",
            stage=Stage(order.status.value),
            fault=fault,
            rider_id=order.rider_id,
        )
        if order.payment.state is PaymentState.CAPTURED:
            return ExtraWrites(
                writes=extras, fact=refund, expected_funds=funds_of(order, FundsState.CAPTURED)
            )
        has_compensation = bool(cancellation_split_of(order, fault).compensation)
        if order.payment.state is PaymentState.DUE and has_compensation:
            return ExtraWrites(
                writes=extras, fact=refund, expected_funds=funds_of(order, FundsState.DUE)
            )
        extras.extend(_with_refusals(void_funds(order.order_id, self._clock.now_ms())))
        return ExtraWrites(writes=extras)

    async def _return_stock(self, order: Order) -> list[ExtraWrite]:
        """Return reserved items to the stock; not those that a rider has picked up."""
        if order.vendor_id is None or order.status is OrderStatus.IN_TRANSIT:
            return []
        changed = Refused(Refusal.CONFLICT, "the catalogue changed meanwhile; try again")
        stock = await self._catalogue.return_stock(order.vendor_id, order.items)
        return [ExtraWrite(write, changed) for write in stock]

    def _return_promotion(self, order: Order, fault: Fault) -> list[ExtraWrite]:
        """Return the discount to its promotion, unless the customer pays more than the price.

        Compensation by a customer at fault is taken from the customer's own money first; only the
        part above it uses the discount, which then stays spent.
        """
        if order.promo_code is None:
            return []
        is_paid = order.payment.state is PaymentState.CAPTURED
        split = cancellation_split_of(order, fault)
        kept = split.compensation if is_paid and split.is_customer_fault else 0
        if kept > order.pricing.total:
            return []
        amount, now_ms = order.pricing.discount, self._clock.now_ms()
        return _with_refusals(return_promotion(order.promo_code, order.user_id, amount, now_ms))

    def _release_rider(
        self, order: Order, reason: rider_store.ReleaseReason, *, releases_cash: bool
    ) -> list[ExtraWrite]:
        """Take the order out of its rider's workload, where it has a rider."""
        rider_id = order.rider_id
        if rider_id is None:
            return []
        changed = Refused(Refusal.CONFLICT, "the rider's workload changed meanwhile; try again")
        extras = [ExtraWrite(rider_store.release_order(rider_id, order.order_id, reason), changed)]
        if releases_cash and order.payment.method is PaymentMethod.CASH:
            amount, now_ms = order.pricing.total, self._clock.now_ms()
            extras.extend(_with_refusals(release_cash(order.order_id, rider_id, amount, now_ms)))
        return extras


def _debt_open(item: Item | None) -> Refused:
    """The refusal of a customer who owes money, with the amount."""
    debt_xaf = debt_of(item)
    message = f"you owe {debt_xaf} XAF: top up your wallet, or pay in advance"
    return Refused(Refusal.DEBT_OPEN, message, {"debt": debt_xaf})


def _with_refusals(guarded: GuardedWrites) -> list[ExtraWrite]:
    """The ledger's writes with the refusals that their codes mean to a client."""
    pairs = zip(guarded.writes, guarded.codes, strict=True)
    return [ExtraWrite(write, Refused(*_REFUSALS_BY_CODE[code])) for write, code in pairs]


def _rider_busy(rider_id: RiderId) -> Refused:
    return Refused(Refusal.CONFLICT, "the rider carries another order", {"riderId": rider_id})


async def rating_writes(order: Order, transition: Transition) -> ExtraWrites:
    """Count the customer's rating for the rider, once for each order."""
    if order.rider_id is None or order.rating is not None or transition.order.rating is None:
        return ExtraWrites()
    unexpected = Refused(Refusal.CONFLICT, "the rating could not be counted")
    rating = rider_store.rate_rider(order.rider_id, transition.order.rating)
    return ExtraWrites(writes=[ExtraWrite(rating, unexpected)])


def decision_writes(decision: Decision | None) -> ExtraWritesFactory:
    """Store the engine's decision beside the order, under the next number."""

    async def extra_writes_for(order: Order, transition: Transition) -> ExtraWrites:
        if decision is None:
            return ExtraWrites()
        number = dispatch_of(order).decisions
        unexpected = Refused(Refusal.CONFLICT, "the decision could not be stored")
        write = write_decision(order.order_id, number, decision)
        return ExtraWrites(writes=[ExtraWrite(write, unexpected)])

    return extra_writes_for


async def no_extra_writes(order: Order, transition: Transition) -> ExtraWrites:
    """The order alone is written."""
    return ExtraWrites()
