"""Corrections: tips, refunds, cash handed in, adjustments by two people, wallet status."""

from dispatch import ids
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.model import OrderStatus
from dispatch.money.correction_store import CorrectionStore, proposal_view
from dispatch.money.idempotent_store import Answer
from dispatch.orders.store import OrderStore
from dispatch.orders.unit_of_work import Caller
from dispatch.storage.paging import PageRequest
from dispatch.wire.http.admin_money import (
    AdjustmentBody,
    RefundBody,
    RemittanceBody,
    ShortageBody,
    WalletStatusChange,
)
from ledger.core import accounts
from ledger.core.accounts import PlatformAccount
from ledger.core.facts import (
    AdjustmentLeg,
    BorneBy,
    Fact,
    PartialRefund,
    Remittance,
    Tip,
    entry_key,
)
from ledger.records.adjustments import AdjustmentProposal, AdjustmentState
from ledger.records.wallets import transaction_id

# How long after its delivery an order can be tipped. Source: chosen, a week.
TIP_WITHIN_MS = 7 * 86_400_000


class CorrectionService:
    """Posts what customers and operators decide by hand; a repeated request has one effect.

    Errors: every method raises StoreUnavailable, and Refused CONFLICT where a request key was used
    for another body.
    """

    def __init__(self, corrections: CorrectionStore, orders: OrderStore, clock: Clock) -> None:
        self._corrections = corrections
        self._orders = orders
        self._clock = clock

    async def tip(self, caller: Caller, order_id: str, amount: int) -> Answer:
        """Tip the rider of a delivered order from the customer's wallet.

        Units: whole XAF.
        Errors: Refused NOT_FOUND; WRONG_STATE before the delivery or a week after it;
        NOT_APPROVED for a suspended customer; INSUFFICIENT_FUNDS.
        """
        order = await self._orders.get(order_id)
        if order is None or order.user_id != caller.id:
            raise Refused(Refusal.NOT_FOUND, f"there is no order {order_id} of yours")
        delivered_ms = order.times.get(OrderStatus.DELIVERED.value)
        if delivered_ms is None or self._clock.now_ms() - delivered_ms > TIP_WITHIN_MS:
            raise Refused(Refusal.WRONG_STATE, "a rider is tipped within a week of the delivery")
        fact = Tip(order_id, ids.new_id("tip"), caller.id, amount)
        answer = {
            "tipId": fact.tip_id,
            "orderId": order_id,
            "amount": amount,
            **_transaction_ref(fact, accounts.user(caller.id)),
        }
        return await self._corrections.post_tip(fact, caller.request_key, answer)

    async def refund(self, caller: Caller, order_id: str, body: RefundBody) -> Answer:
        """Refund a part of a settled order to its customer.

        Errors: Refused NOT_FOUND; WRONG_STATE before the settlement; INSUFFICIENT_FUNDS above what
        was paid; MALFORMED for a vendor's fault where there is no vendor.
        """
        order = await self._orders.get(order_id)
        if order is None:
            raise Refused(Refusal.NOT_FOUND, f"there is no order {order_id}")
        borne_by = BorneBy(body.borne_by)
        if borne_by is BorneBy.VENDOR and order.vendor_id is None:
            raise Refused(Refusal.MALFORMED, "borneBy: a parcel has no vendor")
        fact = PartialRefund(order_id, ids.new_id("ref"), body.amount, body.reason, borne_by)
        answer = {
            "refundId": fact.refund_id,
            "orderId": order_id,
            "amount": body.amount,
            "borneBy": borne_by.value,
            **_transaction_ref(fact, accounts.user(order.user_id)),
        }
        return await self._corrections.post(fact, caller.request_key, answer)

    async def record_remittance(
        self, caller: Caller, rider_id: str, body: RemittanceBody
    ) -> Answer:
        """Book cash that a rider has handed in.

        Errors: Refused INSUFFICIENT_FUNDS where the rider owes less; CONFLICT for a reference that
        was used for another amount.
        """
        remittance_id = body.reference or ids.new_id("rem")
        fact = Remittance(rider_id, remittance_id, body.amount, body.desk)
        answer = {
            "remittanceId": remittance_id,
            "riderId": rider_id,
            "amount": body.amount,
            "desk": body.desk,
            **_transaction_ref(fact, accounts.rider_cash(rider_id)),
        }
        return await self._corrections.post(fact, caller.request_key, answer)

    async def propose(self, caller: Caller, body: AdjustmentBody) -> Answer:
        """Propose an adjustment, which another person must approve.

        Errors: Refused MALFORMED for legs that do not sum to zero or name no account.
        """
        legs = tuple(AdjustmentLeg(leg.account, leg.amount) for leg in body.legs)
        return await self._propose(caller, legs, body.reason)

    async def propose_shortage(self, caller: Caller, rider_id: str, body: ShortageBody) -> Answer:
        """Propose who bears cash that a rider owes and does not have; another person must approve.

        Errors: Refused MALFORMED without the customer who is charged.
        """
        legs = (
            AdjustmentLeg(accounts.rider_cash(rider_id), body.amount),
            AdjustmentLeg(_charged_account(rider_id, body), -body.amount),
        )
        return await self._propose(caller, legs, body.reason)

    async def _propose(
        self, caller: Caller, legs: tuple[AdjustmentLeg, ...], reason: str
    ) -> Answer:
        first = await self._corrections.find_answer(caller.request_key)
        if first is not None:
            return first
        now_ms = self._clock.now_ms()
        proposal = AdjustmentProposal(
            adjustment_id=ids.new_id("adj"),
            corrections=legs,
            reason=reason,
            maker=caller.id,
            created_at=now_ms,
            updated_at=now_ms,
        )
        try:
            return await self._corrections.create_proposal(proposal, caller.request_key)
        except ValueError as error:
            raise Refused(Refusal.MALFORMED, f"legs: {error}") from error

    async def approve(self, caller: Caller, adjustment_id: str) -> Answer:
        """Approve an adjustment as another person than its maker, and post it.

        Errors: Refused NOT_FOUND; FORBIDDEN for its maker; WRONG_STATE; INSUFFICIENT_FUNDS.
        """
        proposal = await self._get_for_decision(caller, adjustment_id)
        return await self._corrections.approve_proposal(proposal, caller.id, caller.request_key)

    async def reject(self, caller: Caller, adjustment_id: str) -> Answer:
        """Reject an adjustment as another person than its maker.

        Errors: Refused NOT_FOUND; FORBIDDEN for its maker; WRONG_STATE.
        """
        first = await self._corrections.find_answer(caller.request_key)
        if first is not None:
            return first
        proposal = await self._get_for_decision(caller, adjustment_id)
        return await self._corrections.reject_proposal(proposal, caller.id, caller.request_key)

    async def list_proposals(
        self, status: str, page: PageRequest
    ) -> tuple[list[Answer], str | None]:
        """Adjustments with a status, oldest first in each shard, and the next cursor.

        Errors: Refused MALFORMED for a cursor of another list.
        """
        found, cursor = await self._corrections.list_proposals(AdjustmentState(status), page)
        return [proposal_view(each) for each in found], cursor

    async def set_wallet_status(
        self, caller: Caller, account: str, body: WalletStatusChange
    ) -> Answer:
        """Freeze, reactivate or close a wallet; an audit record keeps who did it and why.

        Errors: Refused WRONG_STATE for closing a wallet that is not empty.
        """
        return await self._corrections.set_wallet_status(
            account, body.status, caller.id, body.reason
        )

    async def _get_for_decision(self, caller: Caller, adjustment_id: str) -> AdjustmentProposal:
        proposal = await self._corrections.get_proposal(adjustment_id)
        if proposal.maker == caller.id:
            raise Refused(Refusal.FORBIDDEN, "another person than the maker must agree")
        return proposal


def _charged_account(rider_id: str, body: ShortageBody) -> str:
    """The account that bears a shortage.

    Errors: Refused MALFORMED without the customer who is charged.
    """
    if body.charge == "PLATFORM":
        return accounts.platform(PlatformAccount.LOSS, 0)
    if body.charge == "RIDER":
        return accounts.rider(rider_id)
    if body.customer_id is None:
        raise Refused(Refusal.MALFORMED, "customerId: whose debt is it?")
    return accounts.receivable("USER", body.customer_id)


def _transaction_ref(fact: Fact, account: str) -> Answer:
    """The public id of the line that a fact will have in a wallet."""
    key = entry_key(fact)
    return {"transactionId": transaction_id(f"{key.pk}/{key.sk}", account)}
