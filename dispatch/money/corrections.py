"""Corrections: tips, refunds, cash handed in, adjustments by two people, wallet status."""

from dispatch import ids
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.model import OrderStatus
from dispatch.money.approvals.acts import RefundAct, RemittanceAct
from dispatch.money.approvals.model import Approval
from dispatch.money.approvals.proposals import Proposals
from dispatch.money.correction_store import CorrectionStore, proposal_view
from dispatch.money.idempotent_store import Answer, KeptRequest
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

    def __init__(
        self,
        corrections: CorrectionStore,
        orders: OrderStore,
        proposals: Proposals,
        clock: Clock,
    ) -> None:
        self._corrections = corrections
        self._orders = orders
        self._proposals = proposals
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
        kept = KeptRequest(answer=answer, request_key=caller.request_key)
        return await self._corrections.post_tip(fact, kept)

    async def refund(self, caller: Caller, order_id: str, body: RefundBody) -> Answer:
        """Refund a part of a settled order to its customer, or propose it above the limit.

        The limit holds for all refunds of the order together.

        Errors: Refused NOT_FOUND; WRONG_STATE before the settlement; INSUFFICIENT_FUNDS above what
        was paid; MALFORMED for a vendor's fault where there is no vendor.
        """
        first = await self._corrections.find_answer(caller.request_key)
        if first is not None:
            return first
        order = await self._orders.get(order_id)
        if order is None:
            raise Refused(Refusal.NOT_FOUND, f"there is no order {order_id}")
        borne_by = BorneBy(body.borne_by)
        if borne_by is BorneBy.VENDOR and order.vendor_id is None:
            raise Refused(Refusal.MALFORMED, "borneBy: a parcel has no vendor")
        act = RefundAct(
            order_id=order_id,
            refund_id=ids.new_id("ref"),
            user_id=order.user_id,
            amount=body.amount,
            borne_by=borne_by,
            reason=body.reason,
        )
        if self._proposals.needs_two(await self._corrections.refunded_with(_refund_fact(act))):
            return await self._proposals.propose(caller, act)
        return await self.carry_out_refund(act, caller)

    async def carry_out_refund(
        self, act: RefundAct, caller: Caller, approval: Approval | None = None
    ) -> Answer:
        """Post a refund. Errors: as `refund`; WRONG_STATE where the approval is decided."""
        fact = _refund_fact(act)
        answer = {
            "refundId": act.refund_id,
            "orderId": act.order_id,
            "amount": act.amount,
            "borneBy": act.borne_by.value,
            **_transaction_ref(fact, accounts.user(act.user_id)),
        }
        return await self._corrections.post(
            fact, self._proposals.keep(caller, act, approval)(answer)
        )

    async def record_remittance(
        self, caller: Caller, rider_id: str, body: RemittanceBody
    ) -> Answer:
        """Book cash that a rider has handed in, or propose it above the limit.

        Errors: Refused INSUFFICIENT_FUNDS where the rider owes less; CONFLICT for a reference that
        was used for another amount.
        """
        first = await self._corrections.find_answer(caller.request_key)
        if first is not None:
            return first
        act = RemittanceAct(
            rider_id=rider_id,
            remittance_id=body.reference or ids.new_id("rem"),
            amount=body.amount,
            desk=body.desk,
        )
        if self._proposals.needs_two(body.amount):
            return await self._proposals.propose(caller, act)
        return await self.carry_out_remittance(act, caller)

    async def carry_out_remittance(
        self, act: RemittanceAct, caller: Caller, approval: Approval | None = None
    ) -> Answer:
        """Post a remittance. Errors: as `record_remittance`; WRONG_STATE as a refund."""
        fact = Remittance(act.rider_id, act.remittance_id, act.amount, act.desk)
        answer = {
            "remittanceId": act.remittance_id,
            "riderId": act.rider_id,
            "amount": act.amount,
            "desk": act.desk,
            **_transaction_ref(fact, accounts.rider_cash(act.rider_id)),
        }
        return await self._corrections.post(
            fact, self._proposals.keep(caller, act, approval)(answer)
        )

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
        first = await self._corrections.find_answer(caller.request_key)
        if first is not None:
            return first
        return await self._corrections.set_wallet_status(caller, account, body.status, body.reason)

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


def _refund_fact(act: RefundAct) -> PartialRefund:
    return PartialRefund(act.order_id, act.refund_id, act.amount, act.reason, act.borne_by)


def _transaction_ref(fact: Fact, account: str) -> Answer:
    """The public id of the line that a fact will have in a wallet."""
    key = entry_key(fact)
    return {"transactionId": transaction_id(f"{key.pk}/{key.sk}", account)}
