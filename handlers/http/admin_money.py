"""Operators' money endpoints: payouts, refunds, cash, adjustments, any wallet, trial balance."""

from dataclasses import dataclass
from typing import NamedTuple

from aiohttp import web

from dispatch.errors import Refusal, Refused
from dispatch.money.corrections import CorrectionService
from dispatch.money.idempotent_store import Answer
from dispatch.money.payouts.decisions import PayoutDecisions
from dispatch.money.payouts.store import STATUSES, PayoutStore, payout_view
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors
from dispatch.tracking.cash_headroom import CashHeadroom
from dispatch.wire.http.admin_money import (
    AdjustmentBody,
    PayoutGate,
    PayoutOutcome,
    RefundBody,
    RemittanceBody,
    ShortageBody,
    WalletStatusChange,
)
from dispatch.wire.http.base import ReasonBody
from handlers.http.framework.envelope import (
    ACCEPTED,
    Created,
    JsonObject,
    Route,
    read_body,
)
from handlers.http.framework.idempotency import http_caller
from handlers.http.framework.pagination import (
    ListPage,
    choice_of,
    id_of,
    listing,
    order_id_of,
    page_of,
    rider_id_of,
)
from handlers.http.wallet_views import statement_of
from ledger.core.accounts import OWNERS
from ledger.core.accounts import owner as wallet_account
from ledger.records.adjustments import AdjustmentState
from ledger.reporting.history import History
from ledger.reporting.statements import Statements


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminMoneyContext:
    """What these endpoints use."""

    payout_decisions: PayoutDecisions
    payout_store: PayoutStore
    correction_service: CorrectionService
    cash_headroom: CashHeadroom
    statements: Statements
    history: History


ADMIN_MONEY = web.AppKey("admin_money", AdminMoneyContext)


class _WalletOwner(NamedTuple):
    """The owner of a wallet, as ledger accounts name it."""

    owner_type: str
    owner_id: str

    @property
    def account(self) -> str:
        """The name of the wallet's account."""
        return wallet_account(self.owner_type, self.owner_id)


def _done(answer: Answer) -> JsonObject | Created[JsonObject]:
    """The answer of an act that was carried out, or that waits for another operator."""
    return Created(answer, ACCEPTED) if "approvalId" in answer else answer


def _created(answer: Answer) -> Created[JsonObject]:
    """As `_done`, for an act that creates something."""
    return Created(answer, ACCEPTED if "approvalId" in answer else 201)


# Payouts.


async def get_payouts(request: web.Request) -> ListPage[JsonObject]:
    """Payouts of all owners by status; undecided ones by default.

    Errors: Refused MALFORMED.
    """
    status = choice_of(request, "status", sorted(STATUSES), "PENDING")
    store = request.app[ADMIN_MONEY].payout_store
    payouts, cursor = await store.list_by_status(status, page_of(request))
    return listing(map(payout_view, payouts), cursor)


async def post_payout_approval(request: web.Request) -> JsonObject | Created[JsonObject]:
    """Approve a payout that another person requested; above the limit another one must agree."""
    decisions, payout_id = request.app[ADMIN_MONEY].payout_decisions, id_of(request, "payoutId")
    return _done(await decisions.approve(http_caller(request), payout_id))


async def post_payout_rejection(request: web.Request) -> JsonObject:
    """Reject a payout; the held amount is released."""
    body = await read_body(request, ReasonBody)
    decisions, payout_id = request.app[ADMIN_MONEY].payout_decisions, id_of(request, "payoutId")
    return await decisions.reject(http_caller(request, body), payout_id, body.reason or "rejected")


async def post_payout_outcome(request: web.Request) -> JsonObject | Created[JsonObject]:
    """Record the outcome of a payout that was carried out by hand, or that came back.

    Of a payout that a provider carries out, or above the limit, another operator must agree.
    """
    body = await read_body(request, PayoutOutcome)
    decisions, payout_id = request.app[ADMIN_MONEY].payout_decisions, id_of(request, "payoutId")
    caller = http_caller(request, body)
    return _done(await decisions.record_manual_outcome(caller, payout_id, body))


async def get_payout_gate(request: web.Request) -> JsonObject:
    """Whether payouts are stopped, since when, by whom and why, and the last changes."""
    return await request.app[ADMIN_MONEY].payout_decisions.get_gate()


async def put_payout_gate(request: web.Request) -> JsonObject | Created[JsonObject]:
    """Stop payouts, or let them continue, to which another operator must agree."""
    body = await read_body(request, PayoutGate)
    decisions = request.app[ADMIN_MONEY].payout_decisions
    return _done(await decisions.set_gate(http_caller(request, body), body))


# Refunds, cash and adjustments.


async def post_refund(request: web.Request) -> Created[JsonObject]:
    """Refund a part of a settled order; above the limit another operator must agree."""
    body = await read_body(request, RefundBody)
    corrections, order_id = request.app[ADMIN_MONEY].correction_service, order_id_of(request)
    return _created(await corrections.refund(http_caller(request, body), order_id, body))


async def post_remittance(request: web.Request) -> Created[JsonObject]:
    """Record cash that a rider handed in; above the limit another operator must agree."""
    body = await read_body(request, RemittanceBody)
    context, rider_id = request.app[ADMIN_MONEY], rider_id_of(request)
    recorded = await context.correction_service.record_remittance(
        http_caller(request, body), rider_id, body
    )
    context.cash_headroom.refresh_soon(rider_id)
    return _created(recorded)


async def post_shortage(request: web.Request) -> Created[JsonObject]:
    """Propose an adjustment for cash that a rider cannot hand in; another person must approve."""
    body = await read_body(request, ShortageBody)
    corrections, rider_id = request.app[ADMIN_MONEY].correction_service, rider_id_of(request)
    caller = http_caller(request, body)
    return Created(await corrections.propose_shortage(caller, rider_id, body), ACCEPTED)


async def get_riders_with_cash(request: web.Request) -> ListPage[JsonObject]:
    """Riders who hold cash, longest first in each shard."""
    store = request.app[ADMIN_MONEY].payout_store
    riders, cursor = await store.list_riders_with_cash(page_of(request))
    return listing(riders, cursor)


async def post_adjustment(request: web.Request) -> Created[JsonObject]:
    """Propose an adjustment of the books; another person must approve."""
    body = await read_body(request, AdjustmentBody)
    corrections = request.app[ADMIN_MONEY].correction_service
    return Created(await corrections.propose(http_caller(request, body), body))


async def get_adjustments(request: web.Request) -> ListPage[JsonObject]:
    """Adjustments by status; undecided ones by default. Errors: Refused MALFORMED."""
    states = [state.value for state in AdjustmentState]
    status = choice_of(request, "status", states, AdjustmentState.PENDING.value)
    corrections = request.app[ADMIN_MONEY].correction_service
    proposals, cursor = await corrections.list_proposals(status, page_of(request))
    return listing(proposals, cursor)


async def post_adjustment_approval(request: web.Request) -> JsonObject:
    """Approve an adjustment that another person proposed; it is posted."""
    corrections = request.app[ADMIN_MONEY].correction_service
    return await corrections.approve(http_caller(request), id_of(request, "adjustmentId"))


async def post_adjustment_rejection(request: web.Request) -> JsonObject:
    """Reject an adjustment that another person proposed."""
    corrections = request.app[ADMIN_MONEY].correction_service
    return await corrections.reject(http_caller(request), id_of(request, "adjustmentId"))


# Wallets and the books.


def _wallet_owner(request: web.Request) -> _WalletOwner:
    owner_type = request.match_info["ownerType"].upper()
    if owner_type not in OWNERS:
        raise Refused(Refusal.NOT_FOUND, f"there is no wallet of a {owner_type[:80]}")
    return _WalletOwner(owner_type, id_of(request, "ownerId"))


async def get_wallet(request: web.Request) -> JsonObject:
    """Any wallet: balance, holds, status and its owner's debts. Errors: Refused NOT_FOUND."""
    owner = _wallet_owner(request)
    with translate_dynamodb_errors():
        return await request.app[ADMIN_MONEY].statements.wallet_details(*owner)


async def get_wallet_statement(request: web.Request) -> JsonObject:
    """The statement of any wallet for a period."""
    account = _wallet_owner(request).account
    return await statement_of(request, request.app[ADMIN_MONEY].history, account)


async def put_wallet_status(request: web.Request) -> JsonObject:
    """Freeze, unfreeze or close a wallet."""
    body = await read_body(request, WalletStatusChange)
    account = _wallet_owner(request).account
    corrections = request.app[ADMIN_MONEY].correction_service
    return await corrections.set_wallet_status(http_caller(request, body), account, body)


async def get_trial_balance(request: web.Request) -> JsonObject:
    """The balance of every account, and their sum, which is zero."""
    with translate_dynamodb_errors():
        return await request.app[ADMIN_MONEY].statements.trial_balance()


_ADMIN = ("ADMIN",)
_BASE = "/api/v1/admin"
_PAYOUT = f"{_BASE}/payouts/{{payoutId}}"
_RIDER = f"{_BASE}/riders/{{riderId}}"
_ADJUSTMENT = f"{_BASE}/adjustments/{{adjustmentId}}"
_WALLET = f"{_BASE}/wallets/{{ownerType}}/{{ownerId}}"
ROUTES = (
    Route("GET", f"{_BASE}/payouts", _ADMIN, get_payouts),
    Route("POST", f"{_PAYOUT}/approve", _ADMIN, post_payout_approval),
    Route("POST", f"{_PAYOUT}/reject", _ADMIN, post_payout_rejection, ReasonBody),
    Route("POST", f"{_PAYOUT}/outcome", _ADMIN, post_payout_outcome, PayoutOutcome),
    Route("GET", f"{_BASE}/ledger/payout-gate", _ADMIN, get_payout_gate),
    Route("PUT", f"{_BASE}/ledger/payout-gate", _ADMIN, put_payout_gate, PayoutGate),
    Route("POST", f"{_BASE}/orders/{{orderId}}/refund", _ADMIN, post_refund, RefundBody),
    Route("POST", f"{_RIDER}/remittances", _ADMIN, post_remittance, RemittanceBody),
    Route("POST", f"{_RIDER}/shortages", _ADMIN, post_shortage, ShortageBody),
    Route("GET", f"{_BASE}/riders/cash", _ADMIN, get_riders_with_cash),
    Route("POST", f"{_BASE}/adjustments", _ADMIN, post_adjustment, AdjustmentBody),
    Route("GET", f"{_BASE}/adjustments", _ADMIN, get_adjustments),
    Route("POST", f"{_ADJUSTMENT}/approve", _ADMIN, post_adjustment_approval),
    Route("POST", f"{_ADJUSTMENT}/reject", _ADMIN, post_adjustment_rejection),
    Route("GET", _WALLET, _ADMIN, get_wallet),
    Route("GET", f"{_WALLET}/statement", _ADMIN, get_wallet_statement),
    Route("PUT", f"{_WALLET}/status", _ADMIN, put_wallet_status, WalletStatusChange),
    Route("GET", f"{_BASE}/ledger/trial-balance", _ADMIN, get_trial_balance),
)
