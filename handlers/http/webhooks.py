"""Payment providers' events, signed over their raw bytes.

Source: Standard Webhooks; HMAC-SHA-256 over `id.timestamp.body`, at most 300 s old or ahead.
"""

import asyncio
import re
from typing import Any

from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from dispatch.errors import Refusal, Refused
from dispatch.events.idempotency_records import RequestKey, request_key
from dispatch.wire.webhooks import PaymentEvent, PayoutEvent
from handlers.app.contexts import DESK
from handlers.http.framework.envelope import (
    BODY_S_MAX,
    PUBLIC,
    Route,
    failure_response,
    read_body,
)

ID_HEADER = "webhook-id"
# Source: Standard Webhooks leaves the form of ids open; ours must fit into a key.
_EVENT_ID = re.compile(r"[\x21-\x7e]{1,128}")
# Source: wire contract, `provider` of a top-up.
_PROVIDER = re.compile(r"[a-z0-9_]{1,32}")


async def post_payment_event(request: web.Request) -> Any:
    """Take one event of a payment provider.

    Errors: Refused NOT_FOUND for payments nobody asked for; 401 where the signature does not hold.
    """
    receipt = await _verified_request_key(request, "provider")
    if receipt is None:
        return _signature_refusal()
    event = await read_body(request, PaymentEvent)
    provider = request.match_info["provider"]
    return await request.app[DESK].payment_service.handle_webhook_event(provider, event, receipt)


async def post_payout_event(request: web.Request) -> Any:
    """Take one event of a payout provider.

    Errors: Refused NOT_FOUND for payouts he was not asked for; 401 where the signature does not
    hold.
    """
    receipt = await _verified_request_key(request, "payouts")
    if receipt is None:
        return _signature_refusal()
    event = await read_body(request, PayoutEvent)
    provider = request.match_info["provider"]
    return await request.app[DESK].payout_service.handle_webhook_event(provider, event, receipt)


async def _verified_request_key(request: web.Request, source: str) -> RequestKey | None:
    """The receipt of a signed event; None where its signature does not hold."""
    provider = request.match_info["provider"]
    if _PROVIDER.fullmatch(provider) is None:
        raise Refused(Refusal.NOT_FOUND, "there is no such provider")
    raw = await _read_raw(request)
    secret = request.app[DESK].settings.webhook_secret
    if not is_signed(secret, raw, dict(request.headers)):
        return None
    event_id = request.headers[ID_HEADER]
    if _EVENT_ID.fullmatch(event_id) is None:
        raise Refused(Refusal.MALFORMED, f"{ID_HEADER}: 1 to 128 characters of plain text")
    return request_key(f"{source}:{provider}", event_id, raw)


def _signature_refusal() -> web.Response:
    return failure_response(401, "signature_invalid", "the event's signature does not hold")


async def _read_raw(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_S_MAX):
            return await request.read()
    except TimeoutError:
        raise Refused(Refusal.MALFORMED, "the body did not arrive") from None


def is_signed(secret: str, raw: bytes, headers: dict[str, str]) -> bool:
    """Whether who knows the secret has signed these bytes within the last 300 seconds.

    Without a secret nobody can have.
    """
    if not secret:
        return False
    try:
        Webhook(secret).verify(raw, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):
        # ValueError: a body that is no UTF-8, a signature that is no base64.
        return False
    return True


ROUTES = (
    Route(
        "POST",
        "/api/v1/webhooks/payments/{provider}",
        PUBLIC,
        post_payment_event,
        PaymentEvent,
        # A provider may send thousands from one address; what is not signed costs one hash.
        is_limited=False,
    ),
    Route(
        "POST",
        "/api/v1/webhooks/payouts/{provider}",
        PUBLIC,
        post_payout_event,
        PayoutEvent,
        is_limited=False,
    ),
)
