"""A request that comes twice has one effect: `Idempotency-Key` and the answer kept under it."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from dispatch.errors import Refusal, Refused
from dispatch.events.idempotency_records import RequestKey, request_key
from dispatch.orders.unit_of_work import Caller
from handlers.app.contexts import DESK
from handlers.http.framework.envelope import PRINCIPAL

KEY_HEADER = "Idempotency-Key"
# Source: IETF draft-ietf-httpapi-idempotency-key-header, clients send a UUID or the like; the bound
# is ours, half of what a key of DynamoDB leaves beside the owner.
KEY_CHARS_MAX = 128
_KEY = re.compile(rf"[\x20-\x7e]{{1,{KEY_CHARS_MAX}}}")


def caller_of(request: web.Request, body: object = None) -> Caller:
    """Who asks, with the receipt of this request where he named it.

    Errors: Refused MALFORMED for a key that is empty, too long or not plain text.
    """
    principal = request[PRINCIPAL]
    receipt = _request_key(request, principal.identity, body)
    return Caller(audience=principal.audience, id=principal.id, request_key=receipt)


def _request_key(request: web.Request, owner: str, body: object) -> RequestKey | None:
    key = request.headers.get(KEY_HEADER)
    if key is None:
        return None
    if _KEY.fullmatch(key) is None:
        raise Refused(
            Refusal.MALFORMED, f"{KEY_HEADER}: 1 to {KEY_CHARS_MAX} characters of plain text"
        )
    # The same key for another route is another request.
    asked = msgspec.json.encode([request.method, request.path, body])
    return request_key(owner, f"HTTP#{key}", asked)


async def run_once(request: web.Request, body: object, work: Callable[[], Awaitable[Any]]) -> Any:
    """The first answer of work that changes nothing, and so keeps no receipt itself.

    Errors: Refused CONFLICT where the key was used for another body.
    """
    answers, receipt = request.app[DESK].kept_answers, caller_of(request, body).request_key
    first = await answers.find(receipt)
    if first is not None:
        return first
    return await answers.save(receipt, await work())
