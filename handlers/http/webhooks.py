"""Webhook endpoints: signed events of payment and payout providers.

Source: Standard Webhooks; HMAC-SHA-256 over `id.timestamp.body`, at most 300 s old or ahead.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import msgspec
from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from dispatch import metrics
from dispatch.errors import Refusal, Refused
from dispatch.events.idempotency_records import RequestKey, request_key
from dispatch.money.payments import PaymentService
from dispatch.money.payouts.reports import PayoutReports
from dispatch.settings import Settings
from dispatch.wire.webhooks import (
    PAYMENT_EVENTS,
    PAYOUT_EVENTS,
    TYPE_CHARS_MAX,
    PaymentEvent,
    PayoutEvent,
)
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


class WebhookSecrets:
    """The secrets that verify events, by kind of event and provider; those that sign are others."""

    def __init__(self, settings: Settings) -> None:
        self._payments = settings.payment_secrets
        self._payouts = settings.payout_secrets
        self._payments_default = (settings.webhook_secret,) if settings.webhook_secret else ()

    def payments(self, provider: str) -> tuple[str, ...]:
        """The live secrets of a payment provider; none: its events are refused."""
        return self._payments.get(provider, self._payments_default)

    def payouts(self, provider: str) -> tuple[str, ...]:
        """The live secrets of a payout provider; none: its events are refused."""
        return self._payouts.get(provider, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhooksContext:
    """What the webhook endpoints use; without a secret no event is accepted."""

    payment_service: PaymentService
    payout_reports: PayoutReports
    secrets: WebhookSecrets


WEBHOOKS = web.AppKey("webhooks", WebhooksContext)


async def post_payment_event(request: web.Request) -> JsonObject | web.Response:
    """Handle one event of a payment provider; one of another type is answered and ignored.

    Errors: Refused NOT_FOUND for a payment that was not requested; 401 for a bad signature.
    """
    context, provider = request.app[WEBHOOKS], _provider_of(request)
    if not await _is_verified(request, context.secrets.payments(provider)):
        return _signature_refusal()
    if (ignored := await _ignored(request, PAYMENT_EVENTS, "payment")) is not None:
        return ignored
    event = await read_body(request, PaymentEvent)
    key = await _request_key(request, f"provider:{provider}")
    return await context.payment_service.handle_webhook_event(provider, event, key)


async def post_payout_event(request: web.Request) -> JsonObject | web.Response:
    """Handle one event of a payout provider; one of another type is answered and ignored.

    Errors: Refused NOT_FOUND for a payout that was not submitted to it; 401 for a bad signature.
    """
    context, provider = request.app[WEBHOOKS], _provider_of(request)
    if not await _is_verified(request, context.secrets.payouts(provider)):
        return _signature_refusal()
    if (ignored := await _ignored(request, PAYOUT_EVENTS, "payout")) is not None:
        return ignored
    event = await read_body(request, PayoutEvent)
    key = await _request_key(request, f"payouts:{provider}")
    return await context.payout_reports.handle_webhook_event(provider, event, key)


def _provider_of(request: web.Request) -> str:
    provider = request.match_info["provider"]
    if _PROVIDER.fullmatch(provider) is None:
        raise Refused(Refusal.NOT_FOUND, "there is no such provider")
    return provider


async def _is_verified(request: web.Request, secrets: Sequence[str]) -> bool:
    raw, headers = await read_raw_body(request), dict(request.headers)
    return any(is_signed(secret, raw, headers) for secret in secrets)


async def _ignored(request: web.Request, types: frozenset[str], kind: str) -> JsonObject | None:
    """The answer to a verified event of a type that means nothing here, whatever its shape.

    Providers send tests and news of other things, and try again for ever where they are refused.
    """
    try:
        event: object = msgspec.json.decode(await read_raw_body(request) or b"{}")
    except (msgspec.DecodeError, RecursionError):
        return None
    type_ = cast("dict[str, object]", event).get("type") if isinstance(event, dict) else None
    if isinstance(type_, str) and type_ in types:
        return None
    metrics.WEBHOOK_EVENTS_IGNORED.labels(kind).inc()
    return {"ignored": type_[:TYPE_CHARS_MAX] if isinstance(type_, str) else None}


async def _request_key(request: web.Request, source: str) -> RequestKey:
    """The request key of a verified event. Errors: Refused MALFORMED."""
    event_id = request.headers[ID_HEADER]
    if _EVENT_ID.fullmatch(event_id) is None:
        raise Refused(Refusal.MALFORMED, f"{ID_HEADER}: 1 to 128 characters of plain text")
    return request_key(source, event_id, await read_raw_body(request))


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
