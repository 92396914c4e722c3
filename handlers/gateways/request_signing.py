"""What we send to others' gateways, signed as they sign what they send to us."""

from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from dispatch.ids import new_id


def signed_headers(secret: str, body: bytes, now_ms: int) -> dict[str, str]:
    """The headers of a request. Source: Standard Webhooks."""
    number, now_s = new_id("msg"), now_ms // 1000
    at = datetime.fromtimestamp(now_s, UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": number,
        "webhook-timestamp": str(now_s),
        "webhook-signature": Webhook(secret).sign(number, at, body.decode()),
    }
