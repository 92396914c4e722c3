"""Signing of the requests that the server sends to the operator's gateways."""

from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from dispatch.ids import new_id


def signed_headers(secrets: Sequence[str], body: bytes, now_ms: int) -> dict[str, str]:
    """The headers of a signed JSON request; webhooks to the server are signed the same way.

    During a rotation there are two secrets and two signatures; the receiver takes either.

    Units: Unix milliseconds.
    Errors: ValueError for a body that is not UTF-8.
    Source: Standard Webhooks; HMAC-SHA-256 over `id.timestamp.body`, a list separated by spaces.
    """
    message_id, now_s = new_id("msg"), now_ms // 1000
    at = datetime.fromtimestamp(now_s, UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": " ".join(
            Webhook(secret).sign(message_id, at, body.decode()) for secret in secrets
        ),
    }
