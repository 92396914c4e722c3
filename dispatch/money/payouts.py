"""Payouts from request to payment: held at once, agreed to by another person, carried out once."""

import asyncio
from typing import Any

import msgspec
import structlog

from dispatch import ids, metrics
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.events.idempotency_records import Receipt, write_receipt
from dispatch.events.kept_answers import Answers
from dispatch.money.ledger_errors import in_our_words
from dispatch.money.payout_providers import Provider, Word
from dispatch.money.payout_store import Payouts, payout_view
from dispatch.orders.unit_of_work import Caller
from dispatch.wire.http import requests
from dispatch.wire.webhooks import (
    PAYOUT_FAILED,
    PAYOUT_PAID,
    PAYOUT_RETURNED,
    PayoutEvent,
    PayoutReport,
)
from ledger.core.accounts import SHARDS
from ledger.core.facts import Netting, PayoutPaid, PayoutReturned
from ledger.core.money import CURRENCY
from ledger.core.order_funds import Guarded
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
    end_unpaid,
    request_payout,
    submit_payout,
)
from ledger.records.wallets import ACTIVE
from ledger.reporting.statements import Owed, Statements

# Source: wire contract, business rules; whole XAF.
MINIMUM = {"VENDOR": 50_000, "RIDER": 20_000}
# Looks at what an owner owes; cash that comes in between two of them is rare.
NETTINGS = 3
# Payouts that wait to be sent here; above it they are left to the sweep.
WAITING_MAX = 1_000
# Providers call back; this is for what they or a lost node have left. Source: measured, a question
# to the table takes 1 to 1.8 ms of CPU, and a look asks sixteen for each state.
SWEEP_EVERY_S = 10.0
SWEPT = (PayoutState.SUBMITTED, PayoutState.APPROVED)
# A provider who does not know a reference is asked again under it after this long: his books may
# be behind. Under the same reference nothing is paid twice.
COOLING_MS = 15_000

log = structlog.get_logger(__name__)


class Payer:
    """Takes requests, lets operators decide, and has providers pay."""

    def __init__(
        self, table: Table, ledger: Ledger, provider: tuple[str, Provider], clock: Clock
    ) -> None:
        self._table = table
        self._answers = Answers(table, clock)
        self._payouts = Payouts(table)
        self._statements = Statements(table)
        self._ledger = ledger
        self._name, self._provider = provider
        self._clock = clock
        self._waiting: asyncio.Queue[str] = asyncio.Queue(WAITING_MAX)

    # The owner of a wallet asks.

    async def request(self, caller: Caller, body: requests.PayoutRequest) -> dict[str, Any]:
        """Hold an amount of the caller's wallet until it is paid out or given back.

        What he owes us is taken from his wallet first.

        Errors: Refused BELOW_MINIMUM, INSUFFICIENT_FUNDS, FORBIDDEN for a frozen wallet.
        """
        first = await self._answers.find(caller.receipt)
        if first is not None:
            return first
        owner_type = caller.audience.upper()
        if body.amount < MINIMUM[owner_type]:
            least = MINIMUM[owner_type]
            raise Refused(
                Refusal.BELOW_MINIMUM, f"at least {least} XAF are paid out", {"minimum": least}
            )
        now_ms = self._clock.now_ms()
        payout = Payout(
            payout_id=ids.mint("pout"),
            owner_type=msgspec.convert(owner_type, requests.OwnerType),
            owner_id=caller.id,
            amount=body.amount,
            destination=body.destination,
            provider=self._name,
            requested_by=caller.id,
            created_at=now_ms,
            updated_at=now_ms,
        )
        with in_our_words():
            await self._net(payout)
        return await self._write(caller, request_payout(payout, now_ms), payout)

    async def _net(self, payout: Payout) -> None:
        """Take what the owner owes; a debt that was paid meanwhile is looked up again.

        Errors: Refused INSUFFICIENT_FUNDS; CONFLICT where it keeps changing.
        """
        for number in range(NETTINGS):
            owed = await self._statements.owed(payout.owner_type, payout.owner_id)
            if not owed.cash and not owed.debt:
                return
            _check_means(payout, owed)
            fact = Netting(
                f"{payout.payout_id}-{number}",
                payout.owner_type,
                payout.owner_id,
                owed.cash,
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
        payout = await self._own(caller, payout_id)
        return await self._end(caller, payout, PayoutState.CANCELLED, "cancelled by its owner")

    async def _own(self, caller: Caller, payout_id: str) -> Payout:
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
        first = await self._answers.find(caller.receipt)
        if first is not None:
            return first
        now_ms = self._clock.now_ms()
        payout = await self._payouts.get(payout_id)
        if payout.requested_by == caller.id:
            raise Refused(Refusal.FORBIDDEN, "another person than the requester must agree")
        approved = msgspec.structs.replace(
            payout, pstate=PayoutState.APPROVED, approved_by=caller.id, updated_at=now_ms
        )
        steps = approve_payout(payout_id, caller.id, now_ms)
        answer = await self._write(caller, steps, approved)
        self._hand_over(payout_id)
        return answer

    async def reject(self, caller: Caller, payout_id: str, reason: str) -> dict[str, Any]:
        """Turn a payout down; its money may be spent again.

        Errors: Refused NOT_FOUND, WRONG_STATE.
        """
        payout = await self._payouts.get(payout_id)
        return await self._end(caller, payout, PayoutState.REJECTED, reason)

    async def settle_by_hand(
        self, caller: Caller, payout_id: str, news: requests.PayoutNews
    ) -> dict[str, Any]:
        """Say what came of a payout that a person has carried out, or that came back.

        Errors: Refused NOT_FOUND, WRONG_STATE.
        """
        payout = await self._payouts.get(payout_id)
        if news.status == "FAILED":
            return await self._end(caller, payout, PayoutState.FAILED, news.reason)
        with in_our_words():
            if news.status == "RETURNED":
                await self._return(payout, news.reason)
            else:
                await self._pay(payout, news.fee)
        return payout_view(await self._payouts.get(payout_id))

    # The provider pays.

    async def run(self) -> None:
        """Send what is approved here, for as long as the server runs."""
        while True:
            await self.carry_out(await self._waiting.get())

    async def sweep(self) -> None:
        """Send and ask after what was left over, for as long as the server runs."""
        while True:
            try:
                await self.sweep_once(SWEEP_EVERY_S)
            except (StoreUnavailable, TableUnavailable) as error:
                log.warning("payout_sweep_deferred", cause=str(error))
                await asyncio.sleep(SWEEP_EVERY_S)

    async def sweep_once(self, over_s: float = 0.0) -> int:
        """Look after every payout that is approved or sent; returns how many there were.

        Its questions are spread over so many seconds: in a row they would keep others waiting.
        """
        # What is sent now need not be asked after at once.
        places = [(state, shard) for state in SWEPT for shard in range(SHARDS)]
        count = 0
        for state, shard in places:
            await asyncio.sleep(over_s / len(places))
            for payout in await self._payouts.oldest(state, shard):
                await self.carry_out(payout.payout_id)
                count += 1
        return count

    async def carry_out(self, payout_id: str) -> None:
        """Bring one payout as far as it goes now; what cannot be said now is asked again later."""
        try:
            with in_our_words():
                await self._carry_out(payout_id)
        except (Refused, StoreUnavailable) as error:
            log.warning("payout_deferred", payout_id=payout_id, cause=str(error))

    async def _carry_out(self, payout_id: str) -> None:
        payout = await self._payouts.get(payout_id)
        now_ms = self._clock.now_ms()
        if payout.pstate is PayoutState.APPROVED:
            # Written before the call: whatever comes of it is found under this reference.
            await self._transact(submit_payout(payout_id, now_ms).writes)
            payout = await self._payouts.get(payout_id)
            told = await self._provider.submit(payout, _reference(payout))
        elif payout.pstate is PayoutState.SUBMITTED and payout.provider == self._name:
            told = await self._provider.find(payout, _reference(payout))
            is_cool = now_ms - (payout.submitted_at or now_ms) >= COOLING_MS
            if told.word is Word.NOT_FOUND and is_cool:
                told = await self._provider.submit(payout, _reference(payout))
        else:
            return
        if told.word is Word.PAID:
            await self._pay(payout, told.fee)
        elif told.word is Word.FAILED:
            await self._fail(payout, told.reason)

    async def _pay(self, payout: Payout, fee: int) -> None:
        await self._post(PayoutPaid(*_terms(payout), fee), "paid")

    async def _return(self, payout: Payout, reason: str) -> None:
        await self._post(PayoutReturned(*_terms(payout), reason), "returned")

    async def _post(self, fact: PayoutPaid | PayoutReturned, outcome: str) -> None:
        posted = await self._ledger.post(fact)
        if not posted.replayed:
            metrics.PAYOUTS.labels(outcome).inc()

    # The provider tells.

    async def news(self, provider: str, event: PayoutEvent, receipt: Receipt) -> dict[str, Any]:
        """Carry out what a provider says of a payout, once for each event of his.

        Errors: Refused NOT_FOUND for a payout he was not asked for, CONFLICT for another amount or
        fee, MALFORMED for another currency, WRONG_STATE for a word that does not fit: he says it
        again, or a person looks at it.
        """
        first = await self._answers.find(receipt)
        if first is not None:
            return first
        payout = await self._reported(provider, event.data)
        with in_our_words():
            await self._believe(payout, event)
        told = payout_view(await self._payouts.get(payout.payout_id))
        return await self._answers.keep(receipt, told)

    async def _reported(self, provider: str, said: PayoutReport) -> Payout:
        payout = await self._payouts.get(said.payout_id)
        if (payout.provider, payout.provider_ref) != (provider, said.reference):
            raise Refused(Refusal.NOT_FOUND, f"there is no payout {said.payout_id}")
        if said.currency != CURRENCY:
            raise Refused(Refusal.MALFORMED, f"data.currency: only {CURRENCY} is paid")
        if said.amount != payout.amount:
            raise Refused(Refusal.CONFLICT, "the payout is not what was asked for")
        return payout

    async def _believe(self, payout: Payout, event: PayoutEvent) -> None:
        said = event.data
        if event.type == PAYOUT_PAID:
            await self._pay(payout, said.fee)
        elif event.type == PAYOUT_RETURNED:
            await self._return(payout, said.reason)
        elif event.type == PAYOUT_FAILED and payout.pstate is not PayoutState.FAILED:
            await self._fail(payout, said.reason)

    async def _fail(self, payout: Payout, reason: str) -> None:
        told = reason or "the provider refused"
        now_ms = self._clock.now_ms()
        await self._transact(end_unpaid(payout, PayoutState.FAILED, told, now_ms).writes)
        metrics.PAYOUTS.labels("failed").inc()

    def _hand_over(self, payout_id: str) -> None:
        if not self._waiting.full():
            self._waiting.put_nowait(payout_id)

    # What all steps share.

    async def _end(
        self, caller: Caller, payout: Payout, to: PayoutState, reason: str
    ) -> dict[str, Any]:
        first = await self._answers.find(caller.receipt)
        if first is not None:
            return first
        now_ms = self._clock.now_ms()
        ended = msgspec.structs.replace(payout, pstate=to, reason=reason, updated_at=now_ms)
        answer = await self._write(caller, end_unpaid(payout, to, reason, now_ms), ended)
        metrics.PAYOUTS.labels(to.value.lower()).inc()
        return answer

    async def _write(self, caller: Caller, steps: Guarded, after: Payout) -> dict[str, Any]:
        """One transaction of a step and the caller's receipt; a copy's answer where it was first.

        Errors: Refused by what the step asks for.
        """
        answer = payout_view(after)
        writes: list[Write] = list(steps.writes)
        if caller.receipt is not None:
            writes.append(write_receipt(caller.receipt, answer, self._clock.now_ms()))
        try:
            with in_our_words():
                await self._table.transact(writes)
        except TransactionCancelled as cancelled:
            first = await self._answers.find(caller.receipt)
            if first is not None:
                return first
            position = cancelled.failed()[0]
            raise _meaning(steps.codes[position], cancelled.reasons[position].item) from cancelled
        return answer

    async def _transact(self, writes: tuple[Write, ...]) -> None:
        """A step of our own; whoever was faster has done it.

        Errors: Refused WRONG_STATE.
        """
        try:
            await self._table.transact(writes)
        except TransactionCancelled as cancelled:
            raise Refused(Refusal.WRONG_STATE, "the payout stands elsewhere by now") from cancelled


def _terms(payout: Payout) -> tuple[str, requests.OwnerType, str, int, str]:
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


def _check_means(payout: Payout, owed: Owed) -> None:
    wanted = payout.amount + owed.cash + owed.debt
    if owed.available < wanted:
        raise Refused(
            Refusal.INSUFFICIENT_FUNDS,
            f"{owed.available} XAF do not cover the payout and the {owed.cash + owed.debt} you owe",
            {"cashOwed": owed.cash, "debt": owed.debt},
        )


def _meaning(code: str, item: Item | None) -> Refused:
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
    state = item.get("pstate", "changed") if item else "gone"
    return Refused(Refusal.WRONG_STATE, f"the payout is {state}")
