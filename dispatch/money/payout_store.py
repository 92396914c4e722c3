"""Payouts as they are read: one, an owner's, and the queues for operators and the sweep."""

from typing import Any

from dispatch.errors import Refusal, Refused
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.storage.paging import PageRequest
from dispatch.storage.sharded_list import ListShard, query_shards
from ledger.core.accounts import LIST_SHARDS
from ledger.core.money import CURRENCY
from ledger.dynamodb.table import Item, Query, Table, Update
from ledger.records.payouts import (
    PAYOUT_STOP_KEY,
    Payout,
    PayoutState,
    owner_payouts_pk,
    payout_key,
    payout_queue_pk,
    read_payout,
)
from ledger.records.wallets import CASH_OUTSTANDING

# Payouts read at a time from one shard of a queue.
SWEEP_PAGE_SIZE = 100
# What the contract calls a request that nobody has decided.
PENDING = "PENDING"
STATUSES = frozenset({PENDING, *(state.value for state in PayoutState)})


class PayoutStore:
    """Reads payouts, and stops and starts them."""

    def __init__(self, table: Table) -> None:
        self._table = RetryableTable(table)

    async def get(self, payout_id: str) -> Payout:
        """One payout, consistently read.

        Errors: Refused NOT_FOUND.

        DynamoDB: GetItem.
        """
        item = await self._table.get(payout_key(payout_id))
        if item is None:
            raise Refused(Refusal.NOT_FOUND, f"there is no payout {payout_id}")
        return read_payout(item)

    async def list_by_owner(
        self, owner_type: str, owner_id: str, page: PageRequest
    ) -> tuple[list[Payout], str | None]:
        """One owner's payouts, newest first.

        Errors: Refused MALFORMED for a cursor that is not ours.

        DynamoDB: Query of GSI1.
        """
        place = ListShard(owner_payouts_pk(owner_type, owner_id), "GSI1", forward=False)
        items, cursor = await query_shards(self._table, [place], page)
        return [read_payout(item) for item in items], cursor

    async def list_by_status(
        self, status: str, page: PageRequest
    ) -> tuple[list[Payout], str | None]:
        """Payouts that stand so, shard by shard, oldest first in each.

        Errors: Refused MALFORMED for a cursor that is not ours.

        DynamoDB: Query of GSI2, a shard after the other.
        """
        state = PayoutState.REQUESTED if status == PENDING else PayoutState(status)
        places = [ListShard(payout_queue_pk(state, shard), "GSI2") for shard in range(LIST_SHARDS)]
        items, cursor = await query_shards(self._table, places, page)
        return [read_payout(item) for item in items], cursor

    async def list_oldest(self, state: PayoutState, shard: int) -> list[Payout]:
        """The oldest payouts of a shard that stand so; the index may lag behind the truth.

        DynamoDB: Query of GSI2, one page.
        """
        query = Query(pk=payout_queue_pk(state, shard), index="GSI2", limit=SWEEP_PAGE_SIZE)
        return [read_payout(item) for item in (await self._table.query(query)).items]

    async def list_riders_with_cash(
        self, page: PageRequest
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Riders who have cash of ours, since when; the longest first in each shard.

        Errors: Refused MALFORMED for a cursor that is not ours.

        DynamoDB: Query of GSI2, a shard after the other.
        """
        places = [ListShard(f"{CASH_OUTSTANDING}#{shard}", "GSI2") for shard in range(LIST_SHARDS)]
        items, cursor = await query_shards(self._table, places, page)
        return [_cash_view(item) for item in items], cursor

    async def get_gate(self) -> Item:
        """Whether payouts are stopped, since when and why."""
        item = await self._table.get(PAYOUT_STOP_KEY) or {}
        return {name: item.get(name) for name in ("stopped", "reason", "by", "at")}

    async def set_gate(self, *, stopped: bool, reason: str, by: str, now_ms: int) -> None:
        """Stop payouts, or let them go on. DynamoDB: one update."""
        change = Update(
            key=PAYOUT_STOP_KEY,
            expression="SET stopped = :stopped, reason = :reason, #by = :by, #at = :at",
            names={"#by": "by", "#at": "at"},
            values={":stopped": stopped, ":reason": reason, ":by": by, ":at": now_ms},
        )
        await self._table.transact([change])


def _cash_view(item: Item) -> dict[str, Any]:
    since, _, rider_id = item["GSI2SK"].partition("#")
    return {
        "riderId": rider_id,
        "owed": -item["posted"],
        "onTheWay": item["held"],
        "since": int(since),
    }


def payout_view(payout: Payout) -> dict[str, Any]:
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
        "providerReference": payout.provider_ref,
        "fee": payout.fee,
        "reason": payout.reason,
        "createdAt": payout.created_at,
        "updatedAt": payout.updated_at,
    }
    return {name: value for name, value in view.items() if value is not None}
