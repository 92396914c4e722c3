"""Payout store: payouts, their steps and lists, in DynamoDB."""

from typing import Any

from msgspec.structs import replace

from dispatch.accounts.standing import StandingRules
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.money.approvals.proposals import Keep
from dispatch.money.idempotent_store import Answer, IdempotentStore, WriteConflict
from dispatch.storage.paging import PageRequest
from dispatch.storage.sharded_list import ListShard, query_shards
from ledger.core.accounts import LIST_SHARDS
from ledger.core.money import CURRENCY
from ledger.core.order_funds import GuardedWrites
from ledger.dynamodb.table import Item, Query, Table, TransactionCancelled
from ledger.records.payouts import (
    Payout,
    PayoutState,
    approve_payout,
    end_unpaid_payout,
    owner_payouts_pk,
    payout_key,
    payout_queue_pk,
    read_payout,
    request_payout,
    submit_payout,
)
from ledger.records.wallets import ACTIVE, CASH_OUTSTANDING

# Payouts read at a time from one shard of a queue.
SWEEP_PAGE_SIZE = 100
# The status of a requested payout in docs/contract.md.
PENDING = "PENDING"
STATUSES = frozenset({PENDING, *(state.value for state in PayoutState)})


class PayoutStore(IdempotentStore):
    """Reads payouts and moves them from state to state; the ledger writes PAID and RETURNED.

    Errors: every method raises StoreUnavailable; every step Refused CONFLICT where its request key
    was used for another body.
    """

    def __init__(self, table: Table, clock: Clock, rules: StandingRules | None = None) -> None:
        super().__init__(table, clock)
        self._rules = rules or StandingRules()

    async def get(self, payout_id: str) -> Payout:
        """One payout, consistently read.

        Errors: Refused NOT_FOUND.
        DynamoDB: GetItem.
        """
        return read_payout(await self._get_known(payout_key(payout_id), f"payout {payout_id}"))

    async def request(self, payout: Payout, keep: Keep) -> Answer:
        """Write a requested payout down and hold its amount.

        Errors: Refused NOT_APPROVED; INSUFFICIENT_FUNDS; FORBIDDEN for a wallet that is not
        active; CONFLICT where a rider has collected cash since.
        DynamoDB: one transaction, Put REQUEST, Update BALANCE, for a rider Check RIDERCASH, and
        Check STANDING.
        """
        writes = self._of_active_owner(request_payout(payout, payout.created_at), payout)
        return await self._write_step(writes, payout, keep)

    def _of_active_owner(self, step: GuardedWrites, payout: Payout) -> GuardedWrites:
        """The step with the condition that the owner is in good standing."""
        check = self._rules.check_active(payout.owner_type, payout.owner_id)
        return GuardedWrites((check, *step.writes), ("standing", *step.codes))

    async def approve(self, payout: Payout, by: str, keep: Keep) -> Answer:
        """Approve a requested payout.

        Errors: Refused WRONG_STATE; CONFLICT while payouts are stopped or the owner owes;
        NOT_APPROVED for an owner who was suspended since.
        DynamoDB: one transaction, REQUESTED -> APPROVED, with Checks of the gate, of RECEIVABLE
        and of STANDING.
        """
        now_ms = self._clock.now_ms()
        approved = replace(
            payout, payout_state=PayoutState.APPROVED, approved_by=by, updated_at=now_ms
        )
        writes = self._of_active_owner(approve_payout(payout, by, now_ms), payout)
        return await self._write_step(writes, approved, keep)

    async def submit(self, payout_id: str) -> Payout:
        """Give an approved payout its provider reference, before the provider is asked.

        Errors: Refused WRONG_STATE where it is not approved any more, or payouts are stopped.
        DynamoDB: one transaction, APPROVED -> SUBMITTED, with a Check of the gate; GetItem.
        """
        await self._write_unasked(submit_payout(payout_id, self._clock.now_ms()))
        return await self.get(payout_id)

    async def end(
        self, payout: Payout, to: PayoutState, reason: str, by: str, keep: Keep
    ) -> Answer:
        """End an unpaid payout as a caller asks, and release its amount.

        Errors: Refused WRONG_STATE.
        DynamoDB: one transaction, REQUESTED -> REJECTED | CANCELLED or SUBMITTED -> FAILED, with
        Update BALANCE.
        """
        now_ms = self._clock.now_ms()
        ended = replace(payout, payout_state=to, reason=reason, ended_by=by, updated_at=now_ms)
        writes = end_unpaid_payout(payout, to, reason, now_ms, by)
        return await self._write_step(writes, ended, keep)

    async def fail(self, payout: Payout, reason: str) -> None:
        """End a submitted payout that its provider has refused, and release its amount.

        Errors: Refused WRONG_STATE.
        DynamoDB: one transaction, SUBMITTED -> FAILED, with Update BALANCE.
        """
        now_ms = self._clock.now_ms()
        await self._write_unasked(end_unpaid_payout(payout, PayoutState.FAILED, reason, now_ms))

    async def list_by_owner(
        self, owner_type: str, owner_id: str, page: PageRequest
    ) -> tuple[list[Payout], str | None]:
        """One owner's payouts, newest first, and the next cursor.

        Errors: Refused MALFORMED for a cursor of another list.
        DynamoDB: Query of GSI1.
        """
        place = ListShard(owner_payouts_pk(owner_type, owner_id), "GSI1", forward=False)
        items, cursor = await query_shards(self._table, [place], page)
        return [read_payout(item) for item in items], cursor

    async def list_by_status(
        self, status: str, page: PageRequest
    ) -> tuple[list[Payout], str | None]:
        """Payouts with a status, oldest first in each shard, and the next cursor.

        Errors: Refused MALFORMED for a cursor of another list.
        DynamoDB: Query of GSI2, shard by shard.
        """
        state = PayoutState.REQUESTED if status == PENDING else PayoutState(status)
        places = [ListShard(payout_queue_pk(state, shard), "GSI2") for shard in range(LIST_SHARDS)]
        items, cursor = await query_shards(self._table, places, page)
        return [read_payout(item) for item in items], cursor

    async def list_oldest(self, state: PayoutState, shard: int) -> list[Payout]:
        """The oldest payouts in a state of one shard; the index may lag behind the items.

        DynamoDB: Query of GSI2, one page.
        """
        query = Query(pk=payout_queue_pk(state, shard), index="GSI2", limit=SWEEP_PAGE_SIZE)
        return [read_payout(item) for item in (await self._table.query(query)).items]

    async def list_riders_with_cash(self, page: PageRequest) -> tuple[list[Answer], str | None]:
        """Riders with cash in hand, those that have had it longest first in each shard.

        Errors: Refused MALFORMED for a cursor of another list.
        DynamoDB: Query of GSI2, shard by shard.
        """
        places = [ListShard(f"{CASH_OUTSTANDING}#{shard}", "GSI2") for shard in range(LIST_SHARDS)]
        items, cursor = await query_shards(self._table, places, page)
        return [_cash_view(item) for item in items], cursor

    async def _write_step(self, step: GuardedWrites, payout: Payout, keep: Keep) -> Answer:
        """Write a step that a caller asked for, with the payout as it is then as the answer."""
        try:
            return await self._transact(step.writes, keep(payout_view(payout)))
        except WriteConflict as conflict:
            code = step.codes[conflict.position]
            if code == "standing":
                refused = self._rules.refusal(conflict.item, payout.owner_id)
                raise refused from conflict
            raise _refusal_of(code, conflict.item) from conflict

    async def _write_unasked(self, step: GuardedWrites) -> None:
        """Write a step that no caller waits for; another node may have been faster."""
        try:
            await self._table.transact(step.writes)
        except TransactionCancelled as cancelled:
            raise Refused(Refusal.WRONG_STATE, "the payout has another state by now") from cancelled


def _refusal_of(code: str, item: Item | None) -> Refused:
    """The refusal for the failed condition of a step; `item` is what the condition met."""
    if code == "insufficient_funds":
        if item is not None and item["status"] != ACTIVE:
            return Refused(Refusal.FORBIDDEN, f"this wallet is {item['status']}")
        left = item["available"] if item else 0
        return Refused(Refusal.INSUFFICIENT_FUNDS, f"this wallet has {left} XAF to draw from")
    if code == "cash_owed":
        return Refused(Refusal.CONFLICT, "more cash was collected meanwhile; try again")
    if code == "debt_owed":
        owed = -item["posted"] if item else 0
        message = f"the owner owes {owed} XAF; reject it, and the next request pays that first"
        return Refused(Refusal.CONFLICT, message)
    if code == "payouts_stopped":
        return Refused(Refusal.CONFLICT, "payouts are stopped until the books are looked into")
    state = item.get("payoutState", "changed") if item else "gone"
    return Refused(Refusal.WRONG_STATE, f"the payout is {state}")


def _cash_view(item: Item) -> Answer:
    since, _, rider_id = item["GSI2SK"].partition("#")
    return {
        "riderId": rider_id,
        "owed": -item["posted"],
        "onTheWay": item["held"],
        "since": int(since),
    }


def payout_view(payout: Payout) -> Answer:
    """A payout as its owner and operators see it."""
    is_pending = payout.payout_state is PayoutState.REQUESTED
    view: dict[str, Any] = {
        "payoutId": payout.payout_id,
        "status": PENDING if is_pending else payout.payout_state.value,
        "amount": payout.amount,
        "currency": CURRENCY,
        "destination": payout.destination,
        "ownerType": payout.owner_type,
        "ownerId": payout.owner_id,
        "provider": payout.provider,
        "requestedBy": payout.requested_by,
        "approvedBy": payout.approved_by,
        "endedBy": payout.ended_by,
        "providerReference": payout.provider_ref,
        "fee": payout.fee,
        "reason": payout.reason,
        "createdAt": payout.created_at,
        "updatedAt": payout.updated_at,
    }
    return {name: value for name, value in view.items() if value is not None}
