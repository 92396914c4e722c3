"""The caller's own money: what is in his wallet, how it came there, more into it and out of it."""

from typing import Any

from aiohttp import web

from dispatch.errors import Refusal, Refused
from dispatch.money.payout_store import payout_view
from dispatch.storage.dynamodb_errors import answering
from dispatch.wire.http import requests
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
    moment_of,
    page_of,
)
from ledger.core.accounts import owner as wallet
from ledger.core.money import CURRENCY


async def get_balance(request: web.Request) -> Any:
    """What the caller has; with `at`, what he had when that moment was over."""
    principal, desk = request[PRINCIPAL], request.app[DESK]
    if "at" not in request.query:
        with answering():
            return await desk.statements.balance(principal.user_type, principal.id)
    at_ms = moment_of(request, "at")
    with answering():
        posted = await desk.history.balance_at(wallet(principal.user_type, principal.id), at_ms)
    return {"balance": posted, "at": at_ms, "currency": CURRENCY}


async def get_transactions(request: web.Request) -> Any:
    """The lines of the caller's wallet, newest first."""
    principal = request[PRINCIPAL]
    page = page_of(request)
    statements = request.app[DESK].statements
    try:
        with answering():
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
    from_ms = moment_of(request, "from", 0)
    until_ms = moment_of(request, "to", desk.clock.now_ms() + 1)
    is_number = cursor is None or (cursor.isascii() and cursor.isdigit() and len(cursor) <= 12)
    if not is_number or from_ms > until_ms:
        raise Refused(Refusal.MALFORMED, "from, to, cursor: a time, and a cursor of its statement")
    with answering():
        return await desk.history.statement(
            account, (from_ms, until_ms), (min(limit, LIMIT_MAX), int(cursor or 0))
        )


async def post_topup(request: web.Request) -> Any:
    """Ask for money into the caller's wallet."""
    body = await read_body(request, requests.TopUp)
    return Created(await request.app[DESK].cashier.top_up(caller_of(request, body), body))


async def post_payout(request: web.Request) -> Any:
    """Ask for money out of the caller's wallet; it is held at once."""
    body = await read_body(request, requests.PayoutRequest)
    return Created(await request.app[DESK].payer.request(caller_of(request, body), body))


async def get_payouts(request: web.Request) -> Any:
    """The caller's payouts, newest first."""
    principal, desk = request[PRINCIPAL], request.app[DESK]
    found, cursor = await desk.payouts.list_for(principal.user_type, principal.id, page_of(request))
    return listing([payout_view(each) for each in found], cursor)


async def post_payout_cancel(request: web.Request) -> Any:
    """Take a request back that nobody has agreed to."""
    desk, payout_id = request.app[DESK], id_of(request, "payoutId")
    return await desk.payer.cancel(caller_of(request), payout_id)


async def get_earnings(request: web.Request) -> Any:
    """What the caller earned today, this week and ever, and what is still to be settled."""
    principal = request[PRINCIPAL]
    return await earnings_of(request.app[DESK], principal.user_type, principal.id)


_HOLDERS: Roles = ("USER", "VENDOR", "RIDER")
_EARNERS: Roles = ("VENDOR", "RIDER")
ROUTES = (
    Route("GET", "/api/v1/wallet/balance", _HOLDERS, get_balance),
    Route("GET", "/api/v1/wallet/transactions", _HOLDERS, get_transactions),
    Route("GET", "/api/v1/wallet/statement", _HOLDERS, get_statement),
    Route("POST", "/api/v1/wallet/topup", ("USER",), post_topup, requests.TopUp),
    Route("POST", "/api/v1/wallet/payout", _EARNERS, post_payout, requests.PayoutRequest),
    Route("GET", "/api/v1/wallet/payouts", _EARNERS, get_payouts),
    Route("POST", "/api/v1/wallet/payouts/{payoutId}/cancel", _EARNERS, post_payout_cancel),
    Route("GET", "/api/v1/rider/earnings", ("RIDER",), get_earnings),
    Route("GET", "/api/v1/vendor/earnings", ("VENDOR",), get_earnings),
)
