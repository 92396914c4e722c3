"""Webhook endpoints: signed events of payment and payout providers.

Source: Standard Webhooks; HMAC-SHA-256 over `id.timestamp.body`, at most 300 s old or ahead.
"""

import re
from dataclasses import dataclass

from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from dispatch.errors import Refusal, Refused
from dispatch.events.idempotency_records import RequestKey, request_key
from dispatch.money.payments import PaymentService
from dispatch.money.payouts.reports import PayoutReports
from dispatch.wire.webhooks import PaymentEvent, PayoutEvent
from handlers.http.framework.envelope import (
    PUBLIC,
    JsonObject,
    Route,
    failure_response,
    read_body,
    read_raw_body,
)

ID_HEADER = "webhook-id"
# Source: Standard Webhooks leaves the form of ids open; this one fits into a DynamoDB key.
_EVENT_ID = re.compile(r"[\x21-\x7e]{1,128}")
# Source: `docs/contract.md`, `provider` of a top-up.
_PROVIDER = re.compile(r"[a-z0-9_]{1,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhooksContext:
    """What the webhook endpoints use; without a secret no event is accepted."""

    payment_service: PaymentService
    payout_reports: PayoutReports
    webhook_secret: str


WEBHOOKS = web.AppKey("webhooks", WebhooksContext)


async def post_payment_event(request: web.Request) -> JsonObject | web.Response:
    """Handle one event of a payment provider.

    Errors: Refused NOT_FOUND for a payment that was not requested; 401 for a bad signature.
    """
    key = await _verified_request_key(request, "provider")
    if key is None:
        return _signature_refusal()
    event = await read_body(request, PaymentEvent)
    provider = request.match_info["provider"]
    return await request.app[WEBHOOKS].payment_service.handle_webhook_event(provider, event, key)


async def post_payout_event(request: web.Request) -> JsonObject | web.Response:
    """Handle one event of a payout provider.

    Errors: Refused NOT_FOUND for a payout that was not submitted to it; 401 for a bad signature.
    """
    key = await _verified_request_key(request, "payouts")
    if key is None:
        return _signature_refusal()
    event = await read_body(request, PayoutEvent)
    provider = request.match_info["provider"]
    return await request.app[WEBHOOKS].payout_reports.handle_webhook_event(provider, event, key)


async def _verified_request_key(request: web.Request, source: str) -> RequestKey | None:
    """The request key of a signed event; None for a bad signature."""
    provider = request.match_info["provider"]
    if _PROVIDER.fullmatch(provider) is None:
        raise Refused(Refusal.NOT_FOUND, "there is no such provider")
    raw = await read_raw_body(request)
    secret = request.app[WEBHOOKS].webhook_secret
    if not is_signed(secret, raw, dict(request.headers)):
        return None
    event_id = request.headers[ID_HEADER]
    if _EVENT_ID.fullmatch(event_id) is None:
        raise Refused(Refusal.MALFORMED, f"{ID_HEADER}: 1 to 128 characters of plain text")
    return request_key(f"{source}:{provider}", event_id, raw)


def _signature_refusal() -> web.Response:
    return failure_response(401, "signature_invalid", "the event's signature is not valid")


def is_signed(secret: str, raw: bytes, headers: dict[str, str]) -> bool:
    """Tell whether these bytes were signed with the secret within the last 300 seconds.

    An empty secret verifies nothing.
    """
    if not secret:
        return False
    try:
        Webhook(secret).verify(raw, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):
        # ValueError: a body that is not UTF-8, a signature that is not base64.
        return False
    return True


# Providers send many events from one address; an unsigned one costs no more than a hash.
_IS_LIMITED = False
ROUTES = (
    Route(
        "POST",
        "/api/v1/webhooks/payments/{provider}",
        PUBLIC,
        post_payment_event,
        PaymentEvent,
        _IS_LIMITED,
    ),
    Route(
        "POST",
        "/api/v1/webhooks/payouts/{provider}",
        PUBLIC,
        post_payout_event,
        PayoutEvent,
        _IS_LIMITED,
    ),
)
