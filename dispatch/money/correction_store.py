"""Correction store: manual postings, adjustment proposals and wallet states, with their answers."""

from collections.abc import Sequence

import msgspec

from dispatch.accounts.people import set_person_wallet
from dispatch.accounts.standing import StandingRules
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.events.audit_records import OperatorAct, audit_record, resource_of
from dispatch.events.idempotency_records import RequestKey
from dispatch.money.idempotent_store import Answer, IdempotentStore, WriteConflict
from dispatch.money.ledger_errors import translate_ledger_errors
from dispatch.storage.paging import PageRequest
from dispatch.storage.sharded_list import ListShard, query_shards
from ledger.core.accounts import LIST_SHARDS
from ledger.core.facts import Fact, OwnerType, Tip
from ledger.dynamodb.table import Item, Table, TransactionCancelled, Write
from ledger.posting.errors import GuardFailed
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

    async def post(self, fact: Fact, request_key: RequestKey | None, answer: Answer) -> Answer:
        """Post a fact with the answer to its request; a repeated request gets the first answer.

        Errors: Refused by the ledger's rules; Refused CONFLICT where the key was used for another
        body.
        DynamoDB: GetItem of the record, then the posting's transaction with the record.
        """
        return await self._post(fact, (), request_key, answer)

    async def post_tip(self, tip: Tip, request_key: RequestKey | None, answer: Answer) -> Answer:
        """Post a customer's tip, if the customer is in good standing when it is written.

        Errors: as `post`; Refused NOT_APPROVED, PHONE_UNVERIFIED.
        DynamoDB: as `post`, with a Check of STANDING.
        """
        check = self._rules.check_active("USER", tip.user_id)
        try:
            return await self._post(tip, [check], request_key, answer)
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
            return await self._transact([write], request_key, proposal_view(proposal))
        except WriteConflict as conflict:
            raise _wrong_state(conflict.item) from conflict

    async def get_proposal(self, adjustment_id: str) -> AdjustmentProposal:
        """One proposal, consistently read.

        Errors: Refused NOT_FOUND.
        DynamoDB: GetItem.
        """
        item = await self._table.get(adjustment_key(adjustment_id))
        if item is None:
            raise Refused(Refusal.NOT_FOUND, f"there is no adjustment {adjustment_id}")
        return read_proposal(item)

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
        try:
            return await self._post(
                proposal.to_fact(checker), [decision], request_key, proposal_view(decided)
            )
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
            return await self._transact([decision], request_key, proposal_view(decided))
        except WriteConflict as conflict:
            raise _wrong_state(conflict.item) from conflict

    async def set_wallet_status(self, account: str, status: str, by: str, reason: str) -> Answer:
        """Change a wallet's status, with an audit record.

        Errors: Refused WRONG_STATE for closing a wallet that is not empty.
        DynamoDB: one transaction, Update BALANCE, Update STANDING (so that a frozen owner neither
        orders nor gets offers) and Put of the audit record; repeating it adds another record.
        """
        now_ms = self._clock.now_ms()
        owner_type, _, owner_id = account.partition("#")
        beside = set_person_wallet(msgspec.convert(owner_type, OwnerType), owner_id, status)
        answer: Answer = {"account": account, "status": status, "reason": reason}
        act = OperatorAct(
            action="set_wallet_status",
            actor=by,
            resource=wallet_resource(account),
            reason=reason,
            details={"status": status},
        )
        record = audit_record(act, now_ms)
        try:
            await self._table.transact([set_wallet_status(account, status, now_ms), beside, record])
        except TransactionCancelled as cancelled:
            raise Refused(Refusal.WRONG_STATE, "only an empty wallet can be closed") from cancelled
        return answer

    async def _post(
        self, fact: Fact, guards: Sequence[Write], request_key: RequestKey | None, answer: Answer
    ) -> Answer:
        """Post a fact with the caller's guards. Errors: GuardFailed for one of `guards`."""
        first = await self.find_answer(request_key)
        if first is not None:
            return first
        try:
            with translate_ledger_errors():
                await self._ledger.post(fact, [*guards, *self._records(request_key, answer)])
        except GuardFailed:
            first = await self.find_answer(request_key)
            if first is None:
                raise
            return first
        return answer


def _decided(
    proposal: AdjustmentProposal, state: AdjustmentState, checker: str, now_ms: int
) -> AdjustmentProposal:
    return msgspec.structs.replace(
        proposal, adjustment_state=state, checker=checker, updated_at=now_ms
    )


def wallet_resource(account: str) -> str:
    """A wallet as audit records name it: `wallet:vendor:ven_1`."""
    kind, _, owner_id = account.partition("#")
    return resource_of("wallet", kind.lower(), owner_id)


def _wrong_state(item: Item | None) -> Refused:
    state = item.get("adjustmentState", "changed") if item else "gone"
    return Refused(Refusal.WRONG_STATE, f"it is {state} by now")


def proposal_view(proposal: AdjustmentProposal) -> Answer:
    """An adjustment as operators see it."""
    view = {
        "adjustmentId": proposal.adjustment_id,
        "status": proposal.adjustment_state.value,
        "legs": [msgspec.to_builtins(leg) for leg in proposal.corrections],
        "reason": proposal.reason,
        "maker": proposal.maker,
        "checker": proposal.checker,
        "createdAt": proposal.created_at,
        "updatedAt": proposal.updated_at,
    }
    return {name: value for name, value in view.items() if value is not None}
