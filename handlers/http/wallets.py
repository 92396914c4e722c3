"""Wallet endpoints: the caller's balance, lines, statement, top-ups, payouts and earnings."""

from dataclasses import dataclass
from typing import TypedDict

from aiohttp import web

from dispatch.money.payments import PaymentService
from dispatch.money.payouts.requests import PayoutRequests
from dispatch.money.payouts.store import PayoutStore, payout_view
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors
from dispatch.storage.paging import wrong_cursor
from dispatch.wire.http.wallets import PayoutRequest, TopUp
from handlers.http.earnings import EarningsReport, EarningsView
from handlers.http.framework.envelope import (
    HTTP_EDGE,
    PRINCIPAL,
    Created,
    JsonObject,
    Roles,
    Route,
    read_body,
)
from handlers.http.framework.idempotency import http_caller
from handlers.http.framework.pagination import ListPage, id_of, listing, page_of, timestamp_of
from handlers.http.wallet_views import statement_of
from ledger.core.accounts import owner as wallet_account
from ledger.core.money import CURRENCY
from ledger.reporting.history import History
from ledger.reporting.statements import Statements


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletsContext:
    """What the wallet endpoints use."""

    payment_service: PaymentService
    payout_requests: PayoutRequests
    payout_store: PayoutStore
    statements: Statements
    history: History
    earnings: EarningsReport


WALLETS = web.AppKey("wallets", WalletsContext)


class PastBalanceView(TypedDict):
    """A balance at a moment in the past. Units: whole XAF, Unix milliseconds."""

    balance: int
    at: int
    currency: str


async def get_balance(request: web.Request) -> JsonObject | PastBalanceView:
    """The caller's balance; with `at`, the balance at the end of that millisecond."""
    principal, context = request[PRINCIPAL], request.app[WALLETS]
    if "at" not in request.query:
        with translate_dynamodb_errors():
            return await context.statements.balance(principal.user_type, principal.id)
    at_ms = timestamp_of(request, "at")
    account = wallet_account(principal.user_type, principal.id)
    with translate_dynamodb_errors():
        posted = await context.history.balance_at(account, at_ms)
    return {"balance": posted, "at": at_ms, "currency": CURRENCY}


async def get_transactions(request: web.Request) -> JsonObject:
    """The lines of the caller's wallet, newest first. Errors: Refused MALFORMED."""
    principal, page = request[PRINCIPAL], page_of(request)
    statements = request.app[WALLETS].statements
    try:
        with translate_dynamodb_errors():
            return await statements.transactions(principal.user_type, principal.id, *page)
    except ValueError as error:
        raise wrong_cursor() from error


async def get_statement(request: web.Request) -> JsonObject:
    """The lines of a period, oldest first, with the balance before and after them."""
    principal = request[PRINCIPAL]
    account = wallet_account(principal.user_type, principal.id)
    return await statement_of(request, request.app[WALLETS].history, account)


async def post_topup(request: web.Request) -> Created[JsonObject]:
    """Request money into the caller's wallet through a payment provider."""
    body = await read_body(request, TopUp)
    payments = request.app[WALLETS].payment_service
    return Created(await payments.top_up(http_caller(request, body), body))


async def post_payout(request: web.Request) -> Created[JsonObject]:
    """Request money out of the caller's wallet; the amount is held at once."""
    body = await read_body(request, PayoutRequest)
    payouts = request.app[WALLETS].payout_requests
    return Created(await payouts.create(http_caller(request, body), body))


async def get_payouts(request: web.Request) -> ListPage[JsonObject]:
    """The caller's payouts, newest first."""
    principal, context = request[PRINCIPAL], request.app[WALLETS]
    payouts, cursor = await context.payout_store.list_by_owner(
        principal.user_type, principal.id, page_of(request)
    )
    return listing(map(payout_view, payouts), cursor)


async def post_payout_cancel(request: web.Request) -> JsonObject:
    """Cancel a payout request that no operator has decided yet."""
    payouts, payout_id = request.app[WALLETS].payout_requests, id_of(request, "payoutId")
    return await payouts.cancel(http_caller(request), payout_id)


async def get_earnings(request: web.Request) -> EarningsView:
    """The caller's earnings today, this week and ever, and those not yet settled."""
    principal, now_ms = request[PRINCIPAL], request.app[HTTP_EDGE].clock.now_ms()
    earnings = request.app[WALLETS].earnings
    return await earnings.earnings_of(principal.user_type, principal.id, now_ms)


_WALLET_ROLES: Roles = ("USER", "VENDOR", "RIDER")
_EARNING_ROLES: Roles = ("VENDOR", "RIDER")
ROUTES = (
    Route("GET", "/api/v1/wallet/balance", _WALLET_ROLES, get_balance),
    Route("GET", "/api/v1/wallet/transactions", _WALLET_ROLES, get_transactions),
    Route("GET", "/api/v1/wallet/statement", _WALLET_ROLES, get_statement),
    Route("POST", "/api/v1/wallet/topup", ("USER",), post_topup, TopUp),
    Route("POST", "/api/v1/wallet/payout", _EARNING_ROLES, post_payout, PayoutRequest),
    Route("GET", "/api/v1/wallet/payouts", _EARNING_ROLES, get_payouts),
    Route("POST", "/api/v1/wallet/payouts/{payoutId}/cancel", _EARNING_ROLES, post_payout_cancel),
    Route("GET", "/api/v1/rider/earnings", ("RIDER",), get_earnings),
    Route("GET", "/api/v1/vendor/earnings", ("VENDOR",), get_earnings),
)
