"""Wallet views that several endpoints share: the statement of a period."""

from aiohttp import web

from dispatch.errors import Refusal, Refused
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors
from handlers.http.framework.envelope import HTTP_EDGE, JsonObject
from handlers.http.framework.pagination import LIMIT_MAX, page_of, timestamp_of
from ledger.reporting.history import History


async def statement_of(request: web.Request, history: History, account: str) -> JsonObject:
    """The statement of any wallet, for the period and page that the request asks for.

    Errors: Refused MALFORMED; StoreUnavailable.
    """
    limit, cursor = page_of(request)
    from_ms = timestamp_of(request, "from", 0)
    until_ms = timestamp_of(request, "to", request.app[HTTP_EDGE].clock.now_ms() + 1)
    is_number = cursor is None or (cursor.isascii() and cursor.isdigit() and len(cursor) <= 12)
    if not is_number or from_ms > until_ms:
        raise Refused(Refusal.MALFORMED, "from, to, cursor: a period, and a cursor of its list")
    with translate_dynamodb_errors():
        return await history.statement(
            account, from_ms, until_ms, min(limit, LIMIT_MAX), int(cursor or 0)
        )
