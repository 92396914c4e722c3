"""Signs webhook events in tests, as providers do (Standard Webhooks)."""

from datetime import UTC, datetime, timedelta

from standardwebhooks.webhooks import Webhook

from tests.handlers.http_api import SECRET

OTHER_SECRET = "whsec_" + "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg=="


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
