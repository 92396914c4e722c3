"""Signs webhook events in tests, as providers do (Standard Webhooks)."""

from datetime import UTC, datetime, timedelta

from standardwebhooks.webhooks import Webhook

from tests.handlers.http_api import SECRET

OTHER_SECRET = "whsec_" + "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg=="

# Verified events that mean nothing here, and what the answer says of them.
OTHER_EVENTS: list[tuple[bytes, str | None]] = [
    (b"", None),
    (b"{}", None),
    (b"[]", None),
    (b"null", None),
    (b"7", None),
    (b'"ping"', None),
    (b'[{"type": "payment.succeeded"}]', None),
    (b'{"type": "ping"}', "ping"),
    (b'{"type": "ping", "data": null, "timestamp": 1763000002}', "ping"),
    (b'{"type": "refund.created", "data": [1, {"a": 1.5}], "livemode": false}', "refund.created"),
    (b'{"type": "Payment.Succeeded", "data": {}}', "Payment.Succeeded"),
    (b'{"type": null, "data": {}}', None),
    (b'{"type": 3}', None),
    (b'{"type": ["payment.succeeded"]}', None),
    (b'{"event": "charge.success", "data": {"id": 1}}', None),
    (b'{"type": "' + b"x" * 5_000 + b'"}', "x" * 100),
]
# What makes an event of our own types malformed.
BROKEN_DATA: list[dict[str, object]] = [
    {"data": None},
    {"data": []},
    {"data": {}},
    {"data": "pay_1"},
]


def sign_headers(
    raw: bytes, event_id: str = "evt_1", secret: str = SECRET, age_s: int = 0
) -> dict[str, str]:
    """Headers of an event that was signed `age_s` seconds ago."""
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, at, raw.decode()),
        "Content-Type": "application/json",
    }
