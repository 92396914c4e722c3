"""Payout gate store: whether payouts are stopped, and every change of it, in DynamoDB."""

from typing import Any

import msgspec

from dispatch.errors import Refusal, Refused
from dispatch.ids import new_id
from dispatch.money.approvals.acts import GateClosingAct, audited
from dispatch.money.approvals.proposals import Keep
from dispatch.money.idempotent_store import Answer, IdempotentStore, KeptRequest, WriteConflict
from ledger.dynamodb.table import Item, Put, Query, Update, time_sort_key
from ledger.records.payouts import PAYOUT_STOP_KEY

# Partition of the changes, oldest first.
_CHANGES_PK = "PAYOUT_GATE"
# Changes that are shown. Source: chosen; all of them stay, and each has an audit record.
CHANGES_SHOWN = 20


class GateChange(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One change of the gate; `proposed_by` where two people made it. Units: Unix milliseconds."""

    stopped: bool
    reason: str
    by: str
    at: int
    proposed_by: str | None = None


class PayoutGateStore(IdempotentStore):
    """Stops payouts and lets them continue; a change is added to those before, never in place.

    Errors: every method raises StoreUnavailable; a change Refused CONFLICT where its request key
    was used for another body.
    """

    async def get(self) -> Answer:
        """Whether payouts are stopped, since when, why and by whom, and the last changes.

        DynamoDB: GetItem, and Query of the changes.
        """
        last = await self.last_change()
        query = Query(pk=_CHANGES_PK, limit=CHANGES_SHOWN, forward=False)
        items = (await self._table.query(query)).items
        changes = [msgspec.to_builtins(msgspec.convert(item, GateChange)) for item in items]
        return {**_state_view(last), "changes": changes}

    async def last_change(self) -> GateChange | None:
        """The change that holds now, None where payouts were never stopped. DynamoDB: GetItem."""
        item = await self._table.get(PAYOUT_STOP_KEY)
        return None if item is None else msgspec.convert(item, GateChange)

    async def stop(self, reason: str, by: str, keep: Keep) -> Answer:
        """Stop payouts.

        DynamoDB: one transaction, Update of the gate and Put of the change.
        """
        change = GateChange(stopped=True, reason=reason, by=by, at=self._clock.now_ms())
        return await self._transact(_change_writes(change), keep(_state_view(change)))

    async def stop_by_server(self, reason: str, by: str) -> None:
        """Stop payouts for a reason that the server found; nothing where that is the last change.

        DynamoDB: GetItem; then as `stop`, with an audit record.
        """
        last = await self.last_change()
        if last is not None and (last.stopped, last.reason, last.by) == (True, reason, by):
            return
        act = audited(GateClosingAct(reason=reason), by)
        await self.stop(reason, by, lambda answer: KeptRequest(answer=answer, act=act))

    async def reopen(self, change: GateChange, stopped_at: int, keep: Keep) -> Answer:
        """Let payouts continue that were stopped at `stopped_at`.

        Errors: Refused CONFLICT where they were stopped again since, or continue already.
        DynamoDB: one transaction, as `stop`, if the gate has not changed.
        """
        writes = _change_writes(change, only_if_stopped_at=stopped_at)
        try:
            return await self._transact(writes, keep(_state_view(change)))
        except WriteConflict as conflict:
            raise Refused(
                Refusal.CONFLICT, "payouts were stopped again, or continue already"
            ) from conflict


def _change_writes(change: GateChange, only_if_stopped_at: int | None = None) -> list[Update | Put]:
    """The gate's item as it is now, and the change beside those before."""
    item: Item = msgspec.to_builtins(change)
    values: dict[str, Any] = {
        ":stopped": change.stopped,
        ":reason": change.reason,
        ":by": change.by,
        ":at": change.at,
    }
    condition = None
    if only_if_stopped_at is not None:
        condition = "stopped = :yes AND #at = :stoppedAt"
        values |= {":yes": True, ":stoppedAt": only_if_stopped_at}
    state = Update(
        key=PAYOUT_STOP_KEY,
        expression="SET stopped = :stopped, reason = :reason, #by = :by, #at = :at",
        condition=condition,
        names={"#by": "by", "#at": "at"},
        values=values,
    )
    key = {"PK": _CHANGES_PK, "SK": time_sort_key(change.at, new_id("gate"))}
    return [state, Put(item={**key, **item}, condition="attribute_not_exists(PK)")]


def _state_view(change: GateChange | None) -> Answer:
    names = ("stopped", "reason", "by", "at")
    return {name: getattr(change, name, None) for name in names}
