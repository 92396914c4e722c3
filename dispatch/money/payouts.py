"""Payouts from request to payment: held at once, agreed to by another person, carried out once."""

import asyncio
from typing import Any

import msgspec
import structlog

from dispatch import ids, metrics
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.events.idempotency_records import RequestKey, write_record
from dispatch.events.kept_answers import KeptAnswers
from dispatch.money.ledger_errors import translate_ledger_errors
from dispatch.money.payout_providers import PayoutProvider, ProviderStatus
from dispatch.money.payout_store import PayoutStore, payout_view
from dispatch.orders.unit_of_work import Caller
from dispatch.wire.http.admin_money import PayoutOutcome
from dispatch.wire.http.base import OwnerType
from dispatch.wire.http.wallets import PayoutRequest
from dispatch.wire.webhooks import (
    PAYOUT_FAILED,
    PAYOUT_PAID,
    PAYOUT_RETURNED,
    PayoutEvent,
    PayoutReport,
)
from ledger.core.accounts import LIST_SHARDS
from ledger.core.facts import Netting, PayoutPaid, PayoutReturned
from ledger.core.money import CURRENCY
from ledger.core.order_funds import GuardedWrites
from ledger.dynamodb.table import (
    Item,
    Table,
    TableUnavailable,
    TransactionCancelled,
    Write,
)
from ledger.posting.ledger import Ledger, LedgerRefused
from ledger.records.payouts import (
    Payout,
    PayoutState,
    approve_payout,
    end_unpaid_payout,
    request_payout,
    submit_payout,
)
from ledger.records.wallets import ACTIVE
from ledger.reporting.statements import OwnerBalance, Statements

# Source: wire contract, business rules; whole XAF.
MINIMUM_XAF = {"VENDOR": 50_000, "RIDER": 20_000}
# Looks at what an owner owes; cash that comes in between two of them is rare.
NETTING_ATTEMPTS = 3
# Payouts that wait to be sent here; above it they are left to the sweep.
QUEUE_MAX = 1_000
# Providers call back; this is for what they or a lost node have left. Source: measured, a question
# to the table takes 1 to 1.8 ms of CPU, and a look asks sixteen for each state.
SWEEP_EVERY_S = 10.0
SWEPT_STATES = (PayoutState.SUBMITTED, PayoutState.APPROVED)
# A provider who does not know a reference is asked again under it after this long: his books may
# be behind. Under the same reference nothing is paid twice.
RESUBMIT_AFTER_MS = 15_000

log = structlog.get_logger(__name__)


class PayoutService:
    """Takes requests, lets operators decide, and has providers pay."""

    def __init__(
        self, table: Table, ledger: Ledger, provider: tuple[str, PayoutProvider], clock: Clock
    ) -> None:
        self._table = table
        self._answers = KeptAnswers(table, clock)
        self._payouts = PayoutStore(table)
        self._statements = Statements(table)
        self._ledger = ledger
        self._provider_name, self._provider = provider
        self._clock = clock
        self._queue: asyncio.Queue[str] = asyncio.Queue(QUEUE_MAX)

    # The owner of a wallet asks.

    async def request(self, caller: Caller, body: PayoutRequest) -> dict[str, Any]:
        """Hold an amount of the caller's wallet until it is paid out or given back.

        What he owes us is taken from his wallet first.

        Errors: Refused BELOW_MINIMUM, INSUFFICIENT_FUNDS, FORBIDDEN for a frozen wallet.
        """
        first = await self._answers.find(caller.request_key)
        if first is not None:
            return first
        owner_type = caller.audience.upper()
        if body.amount < MINIMUM_XAF[owner_type]:
            least = MINIMUM_XAF[owner_type]
            raise Refused(
                Refusal.BELOW_MINIMUM, f"at least {least} XAF are paid out", {"minimum": least}
            )
        now_ms = self._clock.now_ms()
        payout = Payout(
            payout_id=ids.new_id("pout"),
            owner_type=msgspec.convert(owner_type, OwnerType),
            owner_id=caller.id,
            amount=body.amount,
            destination=body.destination,
            provider=self._provider_name,
            requested_by=caller.id,
            created_at=now_ms,
            updated_at=now_ms,
        )
        with translate_ledger_errors():
            await self._net_debts(payout)
        return await self._write(caller, request_payout(payout, now_ms), payout)

    async def _net_debts(self, payout: Payout) -> None:
        """Take what the owner owes; a debt that was paid meanwhile is looked up again.

        Errors: Refused INSUFFICIENT_FUNDS; CONFLICT where it keeps changing.
        """
        for number in range(NETTING_ATTEMPTS):
            owed = await self._statements.owner_balance(payout.owner_type, payout.owner_id)
            if not owed.cash_in_hand and not owed.debt:
                return
            _check_funds(payout, owed)
            fact = Netting(
                f"{payout.payout_id}-{number}",
                payout.owner_type,
                payout.owner_id,
                owed.cash_in_hand,
                owed.debt,
            )
            try:
                await self._ledger.post(fact)
            except LedgerRefused as refused:
                if refused.code != "insufficient_funds":
                    raise
        raise Refused(Refusal.CONFLICT, "what you owe changes meanwhile; try again")

    async def cancel(self, caller: Caller, payout_id: str) -> dict[str, Any]:
        """Take a request back that nobody has agreed to.

        Errors: Refused NOT_FOUND for another's; WRONG_STATE.
        """
        payout = await self._get_own(caller, payout_id)
        return await self._end(caller, payout, PayoutState.CANCELLED, "cancelled by its owner")

    async def _get_own(self, caller: Caller, payout_id: str) -> Payout:
        payout = await self._payouts.get(payout_id)
        if (payout.owner_type, payout.owner_id) != (caller.audience.upper(), caller.id):
            raise Refused(Refusal.NOT_FOUND, f"there is no payout {payout_id} of yours")
        return payout

    # Operators decide.

    async def approve(self, caller: Caller, payout_id: str) -> dict[str, Any]:
        """Agree to a payout; it is sent to its provider right after.

        Errors: Refused NOT_FOUND, FORBIDDEN for the requester himself, WRONG_STATE, CONFLICT while
        payouts are stopped.
        """
        first = await self._answers.find(caller.request_key)
        if first is not None:
            return first
        now_ms = self._clock.now_ms()
        payout = await self._payouts.get(payout_id)
        if payout.requested_by == caller.id:
            raise Refused(Refusal.FORBIDDEN, "another person than the requester must agree")
        approved = msgspec.structs.replace(
            payout, payout_state=PayoutState.APPROVED, approved_by=caller.id, updated_at=now_ms
        )
        steps = approve_payout(payout_id, caller.id, now_ms)
        answer = await self._write(caller, steps, approved)
        self._enqueue(payout_id)
        return answer

    async def reject(self, caller: Caller, payout_id: str, reason: str) -> dict[str, Any]:
        """Turn a payout down; its money may be spent again.

        Errors: Refused NOT_FOUND, WRONG_STATE.
        """
        payout = await self._payouts.get(payout_id)
        return await self._end(caller, payout, PayoutState.REJECTED, reason)

    async def record_manual_outcome(
        self, caller: Caller, payout_id: str, report: PayoutOutcome
    ) -> dict[str, Any]:
        """Say what came of a payout that a person has carried out, or that came back.

        Errors: Refused NOT_FOUND, WRONG_STATE.
        """
        payout = await self._payouts.get(payout_id)
        if report.status == "FAILED":
            return await self._end(caller, payout, PayoutState.FAILED, report.reason)
        with translate_ledger_errors():
            if report.status == "RETURNED":
                await self._post_returned(payout, report.reason)
            else:
                await self._post_paid(payout, report.fee)
        return payout_view(await self._payouts.get(payout_id))

    # The provider pays.

    async def run(self) -> None:
        """Send what is approved here, for as long as the server runs."""
        while True:
            await self.process_payout(await self._queue.get())

    async def sweep(self) -> None:
        """Send and ask after what was left over, for as long as the server runs."""
        while True:
            try:
                await self.sweep_once(SWEEP_EVERY_S)
            except (StoreUnavailable, TableUnavailable) as error:
                log.warning("payout_sweep_deferred", cause=str(error))
                await asyncio.sleep(SWEEP_EVERY_S)

    async def sweep_once(self, spread_s: float = 0.0) -> int:
        """Look after every payout that is approved or sent; returns how many there were.

        Its questions are spread over so many seconds: in a row they would keep others waiting.
        """
        # What is sent now need not be asked after at once.
        places = [(state, shard) for state in SWEPT_STATES for shard in range(LIST_SHARDS)]
        count = 0
        for state, shard in places:
            await asyncio.sleep(spread_s / len(places))
            for payout in await self._payouts.list_oldest(state, shard):
                await self.process_payout(payout.payout_id)
                count += 1
        return count

    async def process_payout(self, payout_id: str) -> None:
        """Bring one payout as far as it goes now; what cannot be said now is asked again later."""
        try:
            with translate_ledger_errors():
                await self._process(payout_id)
        except (Refused, StoreUnavailable) as error:
            log.warning("payout_deferred", payout_id=payout_id, cause=str(error))

    async def _process(self, payout_id: str) -> None:
        payout = await self._payouts.get(payout_id)
        now_ms = self._clock.now_ms()
        if payout.payout_state is PayoutState.APPROVED:
            # Written before the call: whatever comes of it is found under this reference.
            await self._transact(submit_payout(payout_id, now_ms).writes)
            payout = await self._payouts.get(payout_id)
            told = await self._provider.submit(payout, _reference(payout))
        elif (
            payout.payout_state is PayoutState.SUBMITTED and payout.provider == self._provider_name
        ):
            told = await self._provider.check_status(payout, _reference(payout))
            is_cool = now_ms - (payout.submitted_at or now_ms) >= RESUBMIT_AFTER_MS
            if told.status is ProviderStatus.NOT_FOUND and is_cool:
                told = await self._provider.submit(payout, _reference(payout))
        else:
            return
        if told.status is ProviderStatus.PAID:
            await self._post_paid(payout, told.fee)
        elif told.status is ProviderStatus.FAILED:
            await self._fail(payout, told.reason)

    async def _post_paid(self, payout: Payout, fee: int) -> None:
        await self._post(PayoutPaid(*_fact_fields(payout), fee), "paid")

    async def _post_returned(self, payout: Payout, reason: str) -> None:
        await self._post(PayoutReturned(*_fact_fields(payout), reason), "returned")

    async def _post(self, fact: PayoutPaid | PayoutReturned, outcome: str) -> None:
        posted = await self._ledger.post(fact)
        if not posted.is_replayed:
            metrics.PAYOUTS.labels(outcome).inc()

    # The provider tells.

    async def handle_webhook_event(
        self, provider: str, event: PayoutEvent, request_key: RequestKey
    ) -> dict[str, Any]:
        """Carry out what a provider says of a payout, once for each event of his.

        Errors: Refused NOT_FOUND for a payout he was not asked for, CONFLICT for another amount or
        fee, MALFORMED for another currency, WRONG_STATE for a word that does not fit: he says it
        again, or a person looks at it.
        """
        first = await self._answers.find(request_key)
        if first is not None:
            return first
        payout = await self._find_reported(provider, event.data)
        with translate_ledger_errors():
            await self._apply_event(payout, event)
        told = payout_view(await self._payouts.get(payout.payout_id))
        return await self._answers.save(request_key, told)

    async def _find_reported(self, provider: str, report: PayoutReport) -> Payout:
        payout = await self._payouts.get(report.payout_id)
        if (payout.provider, payout.provider_ref) != (provider, report.reference):
            raise Refused(Refusal.NOT_FOUND, f"there is no payout {report.payout_id}")
        if report.currency != CURRENCY:
            raise Refused(Refusal.MALFORMED, f"data.currency: only {CURRENCY} is paid")
        if report.amount != payout.amount:
            raise Refused(Refusal.CONFLICT, "the payout is not what was asked for")
        return payout

    async def _apply_event(self, payout: Payout, event: PayoutEvent) -> None:
        said = event.data
        if event.type == PAYOUT_PAID:
            await self._post_paid(payout, said.fee)
        elif event.type == PAYOUT_RETURNED:
            await self._post_returned(payout, said.reason)
        elif event.type == PAYOUT_FAILED and payout.payout_state is not PayoutState.FAILED:
            await self._fail(payout, said.reason)

    async def _fail(self, payout: Payout, reason: str) -> None:
        told = reason or "the provider refused"
        now_ms = self._clock.now_ms()
        await self._transact(end_unpaid_payout(payout, PayoutState.FAILED, told, now_ms).writes)
        metrics.PAYOUTS.labels("failed").inc()

    def _enqueue(self, payout_id: str) -> None:
        if not self._queue.full():
            self._queue.put_nowait(payout_id)

    # What all steps share.

    async def _end(
        self, caller: Caller, payout: Payout, to: PayoutState, reason: str
    ) -> dict[str, Any]:
        first = await self._answers.find(caller.request_key)
        if first is not None:
            return first
        now_ms = self._clock.now_ms()
        ended = msgspec.structs.replace(payout, payout_state=to, reason=reason, updated_at=now_ms)
        answer = await self._write(caller, end_unpaid_payout(payout, to, reason, now_ms), ended)
        metrics.PAYOUTS.labels(to.value.lower()).inc()
        return answer

    async def _write(self, caller: Caller, steps: GuardedWrites, payout: Payout) -> dict[str, Any]:
        """One transaction of a step and the caller's receipt; a copy's answer where it was first.

        Errors: Refused by what the step asks for.
        """
        answer = payout_view(payout)
        writes: list[Write] = list(steps.writes)
        if caller.request_key is not None:
            writes.append(write_record(caller.request_key, answer, self._clock.now_ms()))
        try:
            with translate_ledger_errors():
                await self._table.transact(writes)
        except TransactionCancelled as cancelled:
            first = await self._answers.find(caller.request_key)
            if first is not None:
                return first
            position = cancelled.failed_positions()[0]
            raise _refusal_of(
                steps.codes[position], cancelled.reasons[position].item
            ) from cancelled
        return answer

    async def _transact(self, writes: tuple[Write, ...]) -> None:
        """A step of our own; whoever was faster has done it.

        Errors: Refused WRONG_STATE.
        """
        try:
            await self._table.transact(writes)
        except TransactionCancelled as cancelled:
            raise Refused(Refusal.WRONG_STATE, "the payout stands elsewhere by now") from cancelled


def _fact_fields(payout: Payout) -> tuple[str, OwnerType, str, int, str]:
    """What every fact of a payout says first."""
    return (
        payout.payout_id,
        payout.owner_type,
        payout.owner_id,
        payout.amount,
        payout.provider,
    )


def _reference(payout: Payout) -> str:
    assert payout.provider_ref is not None, "written before anything is sent"
    return payout.provider_ref


def _check_funds(payout: Payout, owed: OwnerBalance) -> None:
    wanted = payout.amount + owed.cash_in_hand + owed.debt
    if owed.available < wanted:
        raise Refused(
            Refusal.INSUFFICIENT_FUNDS,
            f"{owed.available} XAF do not cover the payout "
            f"and the {owed.cash_in_hand + owed.debt} you owe",
            {"cashOwed": owed.cash_in_hand, "debt": owed.debt},
        )


def _refusal_of(code: str, item: Item | None) -> Refused:
    """What a failed condition of a step says to its caller; `item` is what was there."""
    if code == "insufficient_funds":
        if item is not None and item["status"] != ACTIVE:
            return Refused(Refusal.FORBIDDEN, f"this wallet is {item['status']}")
        left = item["available"] if item else 0
        return Refused(Refusal.INSUFFICIENT_FUNDS, f"this wallet has {left} XAF to draw from")
    if code == "cash_owed":
        return Refused(Refusal.CONFLICT, "more cash was collected meanwhile; try again")
    if code == "payouts_stopped":
        return Refused(Refusal.CONFLICT, "payouts are stopped until the books are looked into")
    state = item.get("payoutState", "changed") if item else "gone"
    return Refused(Refusal.WRONG_STATE, f"the payout is {state}")
