"""Idempotency of HTTP requests: `Idempotency-Key`, and the first answer kept under it."""

import re
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from dispatch.errors import Refusal, Refused
from dispatch.events.idempotency_records import RequestKey, request_key
from dispatch.events.kept_answers import KeptAnswers
from dispatch.orders.unit_of_work import Caller
from dispatch.wire.phones import encode_phone
from handlers.http.framework.envelope import PRINCIPAL, JsonObject

KEPT_ANSWERS = web.AppKey("kept_answers", KeptAnswers)
KEY_HEADER = "Idempotency-Key"
# Source: IETF draft-ietf-httpapi-idempotency-key-header, clients send a UUID or the like; the bound
# is chosen, so that the key fits beside the owner into a DynamoDB key.
KEY_CHARS_MAX = 128
_KEY = re.compile(rf"[\x20-\x7e]{{1,{KEY_CHARS_MAX}}}")


def http_caller(request: web.Request, body: object = None) -> Caller:
    """The caller of an authenticated request, with its request key if it sent one.

    Errors: Refused MALFORMED for a key that is empty, too long or not printable ASCII.
    """
    principal = request[PRINCIPAL]
    key = _request_key(request, principal.identity, body)
    return Caller(audience=principal.audience, id=principal.id, request_key=key)


def _request_key(request: web.Request, owner: str, body: object) -> RequestKey | None:
    key = request.headers.get(KEY_HEADER)
    if key is None:
        return None
    if _KEY.fullmatch(key) is None:
        raise Refused(
            Refusal.MALFORMED, f"{KEY_HEADER}: 1 to {KEY_CHARS_MAX} characters of plain text"
        )
    # The route is hashed with the body: the same key for another route is a conflict.
    content = msgspec.json.encode([request.method, request.path, body], enc_hook=encode_phone)
    return request_key(owner, f"HTTP#{key}", content)


async def run_once(
    request: web.Request, body: object, work: Callable[[], Awaitable[JsonObject]]
) -> JsonObject:
    """Run `work`, which writes nothing itself, or return the answer kept for the request's key.

    Errors: Refused CONFLICT if the key was used for another request; StoreUnavailable.
    """
    answers, key = request.app[KEPT_ANSWERS], http_caller(request, body).request_key
    first_answer: JsonObject | None = await answers.find(key)
    if first_answer is not None:
        return first_answer
    return await answers.save(key, await work())
