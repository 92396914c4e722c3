"""Payout requests: a wallet's owner asks for money out, and may take the request back."""

import msgspec

from dispatch import ids, metrics
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.money.approvals.proposals import keep_answer
from dispatch.money.idempotent_store import Answer
from dispatch.money.ledger_errors import translate_ledger_errors
from dispatch.money.payouts.store import PayoutStore
from dispatch.orders.unit_of_work import Caller
from dispatch.wire.http.wallets import PayoutRequest
from ledger.core.facts import Netting, OwnerType
from ledger.posting.errors import LedgerRefused
from ledger.posting.ledger import Ledger
from ledger.records.payouts import Payout, PayoutState
from ledger.reporting.statements import OwnerBalance, Statements

# Source: docs/contract.md, business rules; whole XAF.
MINIMUM_XAF = {"VENDOR": 50_000, "RIDER": 20_000}
# How often what an owner owes is read again, because more cash was collected meanwhile.
NETTING_ATTEMPTS = 3


class PayoutRequests:
    """Takes payout requests of vendors and riders.

    Errors: every method raises StoreUnavailable, and Refused CONFLICT where a request key was used
    for another body.
    """

    def __init__(
        self,
        payouts: PayoutStore,
        statements: Statements,
        ledger: Ledger,
        provider_name: str,
        clock: Clock,
    ) -> None:
        self._payouts = payouts
        self._statements = statements
        self._ledger = ledger
        self._provider_name = provider_name
        self._clock = clock

    async def create(self, caller: Caller, body: PayoutRequest) -> Answer:
        """Hold an amount of the caller's wallet until it is paid out or released.

        What the owner owes is taken from the wallet first.

        Errors: Refused BELOW_MINIMUM, INSUFFICIENT_FUNDS, FORBIDDEN for a frozen wallet.
        """
        first = await self._payouts.find_answer(caller.request_key)
        if first is not None:
            return first
        owner_type = caller.audience.upper()
        minimum_xaf = MINIMUM_XAF[owner_type]
        if body.amount < minimum_xaf:
            raise Refused(
                Refusal.BELOW_MINIMUM,
                f"at least {minimum_xaf} XAF are paid out",
                {"minimum": minimum_xaf},
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
        return await self._payouts.request(payout, keep_answer(caller))

    async def cancel(self, caller: Caller, payout_id: str) -> Answer:
        """Cancel a request that is not decided yet.

        Errors: Refused NOT_FOUND for another owner's; WRONG_STATE.
        """
        payout = await self._payouts.get(payout_id)
        if (payout.owner_type, payout.owner_id) != (caller.audience.upper(), caller.id):
            raise Refused(Refusal.NOT_FOUND, f"there is no payout {payout_id} of yours")
        first = await self._payouts.find_answer(caller.request_key)
        if first is not None:
            return first
        state = PayoutState.CANCELLED
        reason = "cancelled by its owner"
        answer = await self._payouts.end(payout, state, reason, caller.id, keep_answer(caller))
        metrics.PAYOUTS.labels(state.value.lower()).inc()
        return answer

    async def _net_debts(self, payout: Payout) -> None:
        """Pay the owner's cash in hand and debts from the wallet; read again if they change.

        Errors: Refused INSUFFICIENT_FUNDS; CONFLICT where they change with each attempt.
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


def _check_funds(payout: Payout, owed: OwnerBalance) -> None:
    debts_xaf = owed.cash_in_hand + owed.debt
    if owed.available < payout.amount + debts_xaf:
        raise Refused(
            Refusal.INSUFFICIENT_FUNDS,
            f"{owed.available} XAF do not cover the payout and the {debts_xaf} you owe",
            {"cashOwed": owed.cash_in_hand, "debt": owed.debt},
        )
