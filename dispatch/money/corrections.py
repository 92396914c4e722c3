"""Money by hand: tips, refunds, cash handed in, corrections by two people, frozen wallets."""

from collections.abc import Sequence
from typing import Any

import msgspec

from dispatch import ids
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.events.audit_records import audit_record
from dispatch.events.idempotency_records import write_record
from dispatch.events.kept_answers import KeptAnswers
from dispatch.model import OrderStatus
from dispatch.money.ledger_errors import translate_ledger_errors
from dispatch.orders.store import OrderStore
from dispatch.orders.unit_of_work import Caller
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.storage.paging import PageRequest
from dispatch.storage.sharded_list import ListShard, query_shards
from dispatch.wire.http.admin_money import (
    AdjustmentBody,
    RefundBody,
    RemittanceBody,
    ShortageBody,
    WalletStatusChange,
)
from ledger.core import accounts
from ledger.core.accounts import LIST_SHARDS, PlatformAccount
from ledger.core.facts import (
    AdjustmentLeg,
    BorneBy,
    Fact,
    PartialRefund,
    Remittance,
    Tip,
    entry_key,
)
from ledger.dynamodb.table import Item, Table, TransactionCancelled, Write
from ledger.posting.ledger import GuardFailed, Ledger
from ledger.records.adjustments import (
    AdjustmentProposal,
    AdjustmentState,
    adjustment_key,
    adjustment_queue_pk,
    create_proposal,
    decide_proposal,
    read_proposal,
)
from ledger.records.wallet_status import set_wallet_status
from ledger.records.wallets import transaction_id

# How long after its delivery an order's rider may still be thanked.
# Source: ledger study; a week later the order is out of everybody's mind.
TIP_WITHIN_MS = 7 * 86_400_000

Answer = dict[str, Any]


class CorrectionService:
    """Posts what people decide, each thing once under the name its asker gave it."""

    def __init__(self, table: Table, ledger: Ledger, clock: Clock) -> None:
        self._table = RetryableTable(table)
        self._answers = KeptAnswers(table, clock)
        self._orders = OrderStore(table)
        self._ledger = ledger
        self._clock = clock

    # The customer thanks.

    async def tip(self, caller: Caller, order_id: str, amount: int) -> Answer:
        """Something for the rider of a delivered order, out of the customer's wallet.

        Errors: Refused NOT_FOUND, WRONG_STATE before the delivery or a week after it,
        INSUFFICIENT_FUNDS.
        """
        order = await self._orders.get(order_id)
        if order is None or order.user_id != caller.id:
            raise Refused(Refusal.NOT_FOUND, f"there is no order {order_id} of yours")
        delivered_ms = order.times.get(OrderStatus.DELIVERED.value)
        if delivered_ms is None or self._clock.now_ms() - delivered_ms > TIP_WITHIN_MS:
            raise Refused(Refusal.WRONG_STATE, "a rider is tipped within a week of the delivery")
        fact = Tip(order_id, ids.new_id("tip"), caller.id, amount)
        told = {"tipId": fact.tip_id, "orderId": order_id, "amount": amount}
        return await self._post(
            caller, fact, {**told, **_transaction_ref(fact, accounts.user(caller.id))}
        )

    # Operators give back and take in.

    async def refund(self, caller: Caller, order_id: str, body: RefundBody) -> Answer:
        """Give a customer a part of a settled order back.

        Errors: Refused NOT_FOUND, WRONG_STATE before the settlement, INSUFFICIENT_FUNDS beyond
        what was paid, MALFORMED for a vendor's fault where there is no vendor.
        """
        order = await self._orders.get(order_id)
        if order is None:
            raise Refused(Refusal.NOT_FOUND, f"there is no order {order_id}")
        borne_by = BorneBy(body.borne_by)
        if borne_by is BorneBy.VENDOR and order.vendor_id is None:
            raise Refused(Refusal.MALFORMED, "borneBy: a parcel has no vendor")
        fact = PartialRefund(order_id, ids.new_id("ref"), body.amount, body.reason, borne_by)
        told = {"refundId": fact.refund_id, "orderId": order_id, "amount": body.amount}
        paid = _transaction_ref(fact, accounts.user(order.user_id))
        return await self._post(caller, fact, {**told, "borneBy": borne_by.value, **paid})

    async def record_remittance(
        self, caller: Caller, rider_id: str, body: RemittanceBody
    ) -> Answer:
        """A rider handed cash in.

        Errors: Refused INSUFFICIENT_FUNDS where he owes less, CONFLICT for a reference that was
        used for another amount.
        """
        remittance_id = body.reference or ids.new_id("rem")
        fact = Remittance(rider_id, remittance_id, body.amount, body.desk)
        told = {"remittanceId": remittance_id, "riderId": rider_id, "amount": body.amount}
        paid = _transaction_ref(fact, accounts.rider_cash(rider_id))
        return await self._post(caller, fact, {**told, "desk": body.desk, **paid})

    # Corrections by two people.

    async def propose(self, caller: Caller, body: AdjustmentBody) -> Answer:
        """Write a correction down; another person must agree.

        Errors: Refused MALFORMED for corrections that do not sum to zero or name no account.
        """
        legs = tuple(AdjustmentLeg(leg.account, leg.amount) for leg in body.legs)
        return await self._propose(caller, legs, body.reason)

    async def propose_shortage(self, caller: Caller, rider_id: str, body: ShortageBody) -> Answer:
        """Cash that a rider owes and does not have: whose loss it is, if another person agrees."""
        charged = {
            "PLATFORM": lambda: accounts.platform(PlatformAccount.LOSS, 0),
            "RIDER": lambda: accounts.rider(rider_id),
            "CUSTOMER": lambda: accounts.receivable("USER", body.customer_id or ""),
        }[body.charge]
        if body.charge == "CUSTOMER" and body.customer_id is None:
            raise Refused(Refusal.MALFORMED, "customerId: whose debt is it?")
        legs = (
            AdjustmentLeg(accounts.rider_cash(rider_id), body.amount),
            AdjustmentLeg(charged(), -body.amount),
        )
        return await self._propose(caller, legs, body.reason)

    async def _propose(
        self, caller: Caller, legs: tuple[AdjustmentLeg, ...], reason: str
    ) -> Answer:
        first = await self._answers.find(caller.request_key)
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
            proposed = create_proposal(proposal)
        except ValueError as error:
            raise Refused(Refusal.MALFORMED, f"legs: {error}") from error
        return await self._write(caller, [proposed], proposal_view(proposal))

    async def approve(self, caller: Caller, adjustment_id: str) -> Answer:
        """Another person agrees, and the correction is posted.

        Errors: Refused NOT_FOUND, FORBIDDEN for its maker, WRONG_STATE, INSUFFICIENT_FUNDS.
        """
        proposal = await self._get_for_decision(caller, adjustment_id)
        now_ms = self._clock.now_ms()
        step = decide_proposal(proposal, AdjustmentState.POSTED, caller.id, now_ms)
        posted = msgspec.structs.replace(
            proposal, adjustment_state=AdjustmentState.POSTED, checker=caller.id, updated_at=now_ms
        )
        return await self._post(caller, proposal.to_fact(caller.id), proposal_view(posted), [step])

    async def reject(self, caller: Caller, adjustment_id: str) -> Answer:
        """Another person does not agree, and nothing moves.

        Errors: Refused NOT_FOUND, FORBIDDEN for its maker, WRONG_STATE.
        """
        first = await self._answers.find(caller.request_key)
        if first is not None:
            return first
        proposal = await self._get_for_decision(caller, adjustment_id)
        now_ms = self._clock.now_ms()
        step = decide_proposal(proposal, AdjustmentState.REJECTED, caller.id, now_ms)
        ended = msgspec.structs.replace(
            proposal,
            adjustment_state=AdjustmentState.REJECTED,
            checker=caller.id,
            updated_at=now_ms,
        )
        return await self._write(caller, [step], proposal_view(ended))

    async def list_proposals(
        self, status: str, page: PageRequest
    ) -> tuple[list[Answer], str | None]:
        """Corrections that stand so, oldest first in each shard.

        Errors: Refused MALFORMED for a cursor that is not ours.

        DynamoDB: Query of GSI2.
        """
        state = AdjustmentState(status)
        places = [
            ListShard(adjustment_queue_pk(state, shard), "GSI2") for shard in range(LIST_SHARDS)
        ]
        items, cursor = await query_shards(self._table, places, page)
        return [proposal_view(read_proposal(item)) for item in items], cursor

    async def _get_for_decision(self, caller: Caller, adjustment_id: str) -> AdjustmentProposal:
        item = await self._table.get(adjustment_key(adjustment_id))
        if item is None:
            raise Refused(Refusal.NOT_FOUND, f"there is no adjustment {adjustment_id}")
        proposal = read_proposal(item)
        if proposal.maker == caller.id:
            raise Refused(Refusal.FORBIDDEN, "another person than the maker must agree")
        return proposal

    # Wallets that may not be drawn from.

    async def set_wallet_status(
        self, caller: Caller, account: str, body: WalletStatusChange
    ) -> Answer:
        """Freeze, free or close a wallet; who did it and why is kept.

        Errors: Refused WRONG_STATE for closing a wallet that is not empty.
        """
        now_ms = self._clock.now_ms()
        told = {"account": account, "status": body.status, "reason": body.reason}
        kept = audit_record("set_standing", caller.id, told, now_ms)
        try:
            await self._table.transact([set_wallet_status(account, body.status, now_ms), kept])
        except TransactionCancelled as cancelled:
            raise Refused(Refusal.WRONG_STATE, "only an empty wallet can be closed") from cancelled
        return told

    # What all of them share.

    async def _post(
        self, caller: Caller, fact: Fact, answer: Answer, guards: Sequence[Write] = ()
    ) -> Answer:
        first = await self._answers.find(caller.request_key)
        if first is not None:
            return first
        writes = list(guards)
        if caller.request_key is not None:
            writes.append(write_record(caller.request_key, answer, self._clock.now_ms()))
        try:
            with translate_ledger_errors():
                await self._ledger.post(fact, writes)
        except GuardFailed as failed:
            return await self._first_answer_or_refuse(caller, failed.item)
        return answer

    async def _write(self, caller: Caller, writes: Sequence[Write], answer: Answer) -> Answer:
        kept = list(writes)
        if caller.request_key is not None:
            kept.append(write_record(caller.request_key, answer, self._clock.now_ms()))
        try:
            await self._table.transact(kept)
        except TransactionCancelled as cancelled:
            item = cancelled.reasons[cancelled.failed_positions()[0]].item
            return await self._first_answer_or_refuse(caller, item)
        return answer

    async def _first_answer_or_refuse(self, caller: Caller, item: Item | None) -> Answer:
        """A copy's first answer.

        Errors: Refused WRONG_STATE where there was none.
        """
        first = await self._answers.find(caller.request_key)
        if first is not None:
            return first
        state = item.get("adjustmentState", "changed") if item else "gone"
        raise Refused(Refusal.WRONG_STATE, f"it is {state} by now")


def _transaction_ref(fact: Fact, account: str) -> Answer:
    """The public name of the line that a fact becomes in a wallet."""
    key = entry_key(fact)
    return {"transactionId": transaction_id(f"{key.pk}/{key.sk}", account)}


def proposal_view(proposal: AdjustmentProposal) -> Answer:
    """A correction as operators see it."""
    view = {
        "adjustmentId": proposal.adjustment_id,
        "status": proposal.adjustment_state.value,
        "legs": msgspec.to_builtins(proposal.corrections),
        "reason": proposal.reason,
        "maker": proposal.maker,
        "checker": proposal.checker,
        "createdAt": proposal.created_at,
        "updatedAt": proposal.updated_at,
    }
    return {name: value for name, value in view.items() if value is not None}
