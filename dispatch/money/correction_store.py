"""Correction store: manual postings, adjustment proposals and wallet states, with their answers."""

from collections.abc import Sequence

import msgspec

from dispatch.accounts.people import set_person_wallet
from dispatch.accounts.standing import StandingRules
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.events.audit_records import OperatorAct, resource_of
from dispatch.events.idempotency_records import RequestKey
from dispatch.money.idempotent_store import (
    Answer,
    IdempotentStore,
    KeptRequest,
    WriteConflict,
    not_pending,
)
from dispatch.money.ledger_errors import translate_ledger_errors
from dispatch.orders.unit_of_work import Caller
from dispatch.storage.paging import PageRequest
from dispatch.storage.sharded_list import ListShard, query_shards
from ledger.core.accounts import LIST_SHARDS
from ledger.core.entry_planning import plan_entry
from ledger.core.facts import Fact, OwnerType, PartialRefund, Rejection, Tip
from ledger.dynamodb.table import Item, Table, Write
from ledger.posting.errors import GuardFailed, LedgerRefused
from ledger.posting.ledger import Ledger
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


class CorrectionStore(IdempotentStore):
    """Posts facts once for each request, and keeps adjustment proposals.

    Errors: every method raises StoreUnavailable.
    """

    def __init__(
        self, table: Table, ledger: Ledger, clock: Clock, rules: StandingRules | None = None
    ) -> None:
        super().__init__(table, clock)
        self._ledger = ledger
        self._rules = rules or StandingRules()

    async def post(self, fact: Fact, kept: KeptRequest) -> Answer:
        """Post a fact with the answer to its request; a repeated request gets the first answer.

        Errors: Refused by the ledger's rules; Refused CONFLICT where the key was used for another
        body.
        DynamoDB: GetItem of the record, then the posting's transaction with the record.
        """
        return await self._post(fact, (), kept)

    async def refunded_with(self, fact: PartialRefund) -> int:
        """What is refunded of a settled order once this refund is posted. Units: whole XAF.

        Errors: Refused by the ledger's rules, as `post`.
        DynamoDB: GetItem.
        """
        with translate_ledger_errors():
            funds = await self._ledger.get_funds(fact.order_id)
            planned = plan_entry(fact, funds, shard=0)
            if isinstance(planned, Rejection):
                raise LedgerRefused(planned.code, planned.message)
        return fact.amount + (funds.refunded if funds is not None else 0)

    async def post_tip(self, tip: Tip, kept: KeptRequest) -> Answer:
        """Post a customer's tip, if the customer is in good standing when it is written.

        Errors: as `post`; Refused NOT_APPROVED, PHONE_UNVERIFIED.
        DynamoDB: as `post`, with a Check of STANDING.
        """
        check = self._rules.check_active("USER", tip.user_id)
        try:
            return await self._post(tip, [check], kept)
        except GuardFailed as failed:
            raise self._rules.refusal(failed.item) from failed

    async def create_proposal(
        self, proposal: AdjustmentProposal, request_key: RequestKey | None
    ) -> Answer:
        """Write a proposal down.

        Errors: ValueError for legs that could not become an entry.
        DynamoDB: one transaction, Put REQUEST if absent.
        """
        write = create_proposal(proposal)
        try:
            return await self._transact(
                [write], _kept_proposal("propose_adjustment", proposal.maker, proposal, request_key)
            )
        except WriteConflict as conflict:
            raise _wrong_state(conflict.item) from conflict

    async def get_proposal(self, adjustment_id: str) -> AdjustmentProposal:
        """One proposal, consistently read.

        Errors: Refused NOT_FOUND.
        DynamoDB: GetItem.
        """
        return read_proposal(
            await self._get_known(adjustment_key(adjustment_id), f"adjustment {adjustment_id}")
        )

    async def list_proposals(
        self, state: AdjustmentState, page: PageRequest
    ) -> tuple[list[AdjustmentProposal], str | None]:
        """Proposals in a state, oldest first in each shard, and the next cursor.

        Errors: Refused MALFORMED for a cursor of another list.
        DynamoDB: Query of GSI2, shard by shard.
        """
        shards = [
            ListShard(adjustment_queue_pk(state, shard), "GSI2") for shard in range(LIST_SHARDS)
        ]
        items, cursor = await query_shards(self._table, shards, page)
        return [read_proposal(item) for item in items], cursor

    async def approve_proposal(
        self, proposal: AdjustmentProposal, checker: str, request_key: RequestKey | None
    ) -> Answer:
        """Post a pending proposal; the decision and the entry are one transaction.

        Errors: Refused WRONG_STATE where it is decided already; as `post`.
        DynamoDB: as `post`, with Update REQUEST PENDING -> POSTED.
        """
        now_ms = self._clock.now_ms()
        decision = decide_proposal(proposal, AdjustmentState.POSTED, checker, now_ms)
        decided = _decided(proposal, AdjustmentState.POSTED, checker, now_ms)
        kept = _kept_proposal("approve_adjustment", checker, decided, request_key)
        try:
            return await self._post(proposal.to_fact(checker), [decision], kept)
        except GuardFailed as failed:
            raise _wrong_state(failed.item) from failed

    async def reject_proposal(
        self, proposal: AdjustmentProposal, checker: str, request_key: RequestKey | None
    ) -> Answer:
        """Close a pending proposal without an entry.

        Errors: Refused WRONG_STATE where it is decided already.
        DynamoDB: one transaction, Update REQUEST PENDING -> REJECTED.
        """
        now_ms = self._clock.now_ms()
        decision = decide_proposal(proposal, AdjustmentState.REJECTED, checker, now_ms)
        decided = _decided(proposal, AdjustmentState.REJECTED, checker, now_ms)
        try:
            return await self._transact(
                [decision], _kept_proposal("reject_adjustment", checker, decided, request_key)
            )
        except WriteConflict as conflict:
            raise _wrong_state(conflict.item) from conflict

    async def set_wallet_status(
        self, caller: Caller, account: str, status: str, reason: str
    ) -> Answer:
        """Change a wallet's status, with an audit record.

        Errors: Refused WRONG_STATE for closing a wallet that is not empty; CONFLICT where the key
        was used for another body.
        DynamoDB: one transaction, Update BALANCE, Update STANDING (so that a frozen owner neither
        orders nor gets offers) and Put of the audit record.
        """
        now_ms = self._clock.now_ms()
        owner_type, _, owner_id = account.partition("#")
        beside = set_person_wallet(msgspec.convert(owner_type, OwnerType), owner_id, status)
        answer: Answer = {"account": account, "status": status, "reason": reason}
        act = OperatorAct(
            action="set_wallet_status",
            actor=caller.id,
            resource=wallet_resource(account),
            reason=reason,
            details={"status": status},
        )
        kept = KeptRequest(answer=answer, request_key=caller.request_key, act=act)
        try:
            return await self._transact([set_wallet_status(account, status, now_ms), beside], kept)
        except WriteConflict as conflict:
            raise Refused(Refusal.WRONG_STATE, "only an empty wallet can be closed") from conflict

    async def _post(self, fact: Fact, guards: Sequence[Write], kept: KeptRequest) -> Answer:
        """Post a fact with the caller's guards. Errors: GuardFailed for one of `guards`."""
        first = await self.find_answer(kept.request_key)
        if first is not None:
            return first
        try:
            with translate_ledger_errors():
                posted = await self._ledger.post(fact, [*guards, *self._records(kept)])
        except GuardFailed as failed:
            first = await self.find_answer(kept.request_key)
            if first is not None:
                return first
            if failed.position >= len(guards):
                raise not_pending(failed.item) from failed
            raise
        if posted.is_replayed and kept.decision is not None:
            # The entry was posted before, without this decision.
            first = await self.find_answer(kept.request_key)
            if first is None:
                raise Refused(Refusal.WRONG_STATE, "it was carried out before")
            return first
        return kept.answer


def _decided(
    proposal: AdjustmentProposal, state: AdjustmentState, checker: str, now_ms: int
) -> AdjustmentProposal:
    return msgspec.structs.replace(
        proposal, adjustment_state=state, checker=checker, updated_at=now_ms
    )


def _kept_proposal(
    action: str, actor: str, proposal: AdjustmentProposal, request_key: RequestKey | None
) -> KeptRequest:
    """What is kept of an operator's step with a proposal; `proposal` as it is afterwards."""
    view = proposal_view(proposal)
    act = OperatorAct(
        action=action,
        actor=actor,
        resource=resource_of("adjustment", proposal.adjustment_id),
        reason=proposal.reason,
        details={"legs": view["legs"], "proposedBy": proposal.maker},
    )
    return KeptRequest(answer=view, request_key=request_key, act=act)


def wallet_resource(account: str) -> str:
    """A wallet as audit records name it: `wallet:vendor:ven_1`."""
    kind, _, owner_id = account.partition("#")
    return resource_of("wallet", kind.lower(), owner_id)


def _wrong_state(item: Item | None) -> Refused:
    state = item.get("adjustmentState", "changed") if item else "gone"
    # A pending one is refused only after its end.
    present = "EXPIRED" if state == AdjustmentState.PENDING else state
    return Refused(Refusal.WRONG_STATE, f"it is {present} by now")


def proposal_view(proposal: AdjustmentProposal) -> Answer:
    """An adjustment as operators see it."""
    view = {
        "adjustmentId": proposal.adjustment_id,
        # Listed under /admin/approvals too, by the same id.
        "approvalId": proposal.adjustment_id,
        "status": proposal.adjustment_state.value,
        "legs": [msgspec.to_builtins(leg) for leg in proposal.corrections],
        "reason": proposal.reason,
        "maker": proposal.maker,
        "checker": proposal.checker,
        "createdAt": proposal.created_at,
        "expiresAt": proposal.expires_at,
        "updatedAt": proposal.updated_at,
    }
    return {name: value for name, value in view.items() if value is not None}
