"""Signing of the requests that the server sends to the operator's gateways."""

from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from dispatch.ids import new_id


def signed_headers(secret: str, body: bytes, now_ms: int) -> dict[str, str]:
    """The headers of a signed JSON request; webhooks to the server are signed the same way.

    Units: Unix milliseconds.
    Errors: ValueError for a body that is not UTF-8.
    Source: Standard Webhooks; HMAC-SHA-256 over `id.timestamp.body`.
    """
    message_id, now_s = new_id("msg"), now_ms // 1000
    at = datetime.fromtimestamp(now_s, UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": Webhook(secret).sign(message_id, at, body.decode()),
    }
