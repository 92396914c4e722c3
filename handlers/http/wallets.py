"""The caller's own money: what is in his wallet, how it came there, more into it and out of it."""

from typing import Any

from aiohttp import web

from dispatch.errors import Refusal, Refused
from dispatch.money.payout_store import payout_view
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors
from dispatch.wire.http.wallets import PayoutRequest, TopUp
from handlers.app.contexts import DESK
from handlers.http.earnings import earnings_of
from handlers.http.framework.envelope import (
    PRINCIPAL,
    Created,
    Roles,
    Route,
    read_body,
)
from handlers.http.framework.idempotency import caller_of
from handlers.http.framework.pagination import (
    LIMIT_MAX,
    id_of,
    listing,
    page_of,
    timestamp_of,
)
from ledger.core.accounts import owner as wallet
from ledger.core.money import CURRENCY


async def get_balance(request: web.Request) -> Any:
    """What the caller has; with `at`, what he had when that moment was over."""
    principal, desk = request[PRINCIPAL], request.app[DESK]
    if "at" not in request.query:
        with translate_dynamodb_errors():
            return await desk.statements.balance(principal.user_type, principal.id)
    at_ms = timestamp_of(request, "at")
    with translate_dynamodb_errors():
        posted = await desk.history.balance_at(wallet(principal.user_type, principal.id), at_ms)
    return {"balance": posted, "at": at_ms, "currency": CURRENCY}


async def get_transactions(request: web.Request) -> Any:
    """The lines of the caller's wallet, newest first."""
    principal = request[PRINCIPAL]
    page = page_of(request)
    statements = request.app[DESK].statements
    try:
        with translate_dynamodb_errors():
            return await statements.transactions(principal.user_type, principal.id, *page)
    except ValueError as error:
        raise Refused(Refusal.MALFORMED, "this cursor is not from this list") from error


async def get_statement(request: web.Request) -> Any:
    """The lines of a time, oldest first, with the balance before and after them."""
    principal = request[PRINCIPAL]
    return await statement_of(request, wallet(principal.user_type, principal.id))


async def statement_of(request: web.Request, account: str) -> Any:
    """A statement of any wallet, as the request asks for it.

    Errors: Refused MALFORMED.
    """
    desk, (limit, cursor) = request.app[DESK], page_of(request)
    from_ms = timestamp_of(request, "from", 0)
    until_ms = timestamp_of(request, "to", desk.clock.now_ms() + 1)
    is_number = cursor is None or (cursor.isascii() and cursor.isdigit() and len(cursor) <= 12)
    if not is_number or from_ms > until_ms:
        raise Refused(Refusal.MALFORMED, "from, to, cursor: a time, and a cursor of its statement")
    with translate_dynamodb_errors():
        return await desk.history.statement(
            account, (from_ms, until_ms), (min(limit, LIMIT_MAX), int(cursor or 0))
        )


async def post_topup(request: web.Request) -> Any:
    """Ask for money into the caller's wallet."""
    body = await read_body(request, TopUp)
    return Created(await request.app[DESK].payment_service.top_up(caller_of(request, body), body))


async def post_payout(request: web.Request) -> Any:
    """Ask for money out of the caller's wallet; it is held at once."""
    body = await read_body(request, PayoutRequest)
    return Created(await request.app[DESK].payout_service.request(caller_of(request, body), body))


async def get_payouts(request: web.Request) -> Any:
    """The caller's payouts, newest first."""
    principal, desk = request[PRINCIPAL], request.app[DESK]
    found, cursor = await desk.payout_store.list_by_owner(
        principal.user_type, principal.id, page_of(request)
    )
    return listing([payout_view(each) for each in found], cursor)


async def post_payout_cancel(request: web.Request) -> Any:
    """Take a request back that nobody has agreed to."""
    desk, payout_id = request.app[DESK], id_of(request, "payoutId")
    return await desk.payout_service.cancel(caller_of(request), payout_id)


async def get_earnings(request: web.Request) -> Any:
    """What the caller earned today, this week and ever, and what is still to be settled."""
    principal = request[PRINCIPAL]
    return await earnings_of(request.app[DESK], principal.user_type, principal.id)


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
