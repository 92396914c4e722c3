"""The caller's own wallet: what is in it, how it came there, and more into it."""

from typing import Any

from aiohttp import web

from dispatch.errors import Refusal, Refused
from dispatch.store.answering import answering
from dispatch.wire import requests
from handlers.desk import DESK
from handlers.http.envelope import PRINCIPAL, Created, Roles, Route, read_body
from handlers.http.paging import page_of
from handlers.http.repeats import caller_of


async def get_balance(request: web.Request) -> Any:
    """What the caller has."""
    principal = request[PRINCIPAL]
    with answering():
        return await request.app[DESK].statements.balance(principal.user_type, principal.id)


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


async def post_topup(request: web.Request) -> Any:
    """Ask for money into the caller's wallet."""
    body = await read_body(request, requests.TopUp)
    return Created(await request.app[DESK].cashier.top_up(caller_of(request, body), body))


_HOLDERS: Roles = ("USER", "VENDOR", "RIDER")
ROUTES = (
    Route("GET", "/api/v1/wallet/balance", _HOLDERS, get_balance),
    Route("GET", "/api/v1/wallet/transactions", _HOLDERS, get_transactions),
    Route("POST", "/api/v1/wallet/topup", ("USER",), post_topup, requests.TopUp),
)
