"""Signing of requests to the operator's gateways."""

from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from handlers.gateways.request_signing import signed_headers

SECRET = "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"


def now_ms() -> int:
    """The library that verifies reads the system clock."""
    return int(datetime.now(UTC).timestamp() * 1000)


def test_a_signed_request_verifies_with_the_secret_and_the_same_bytes():
    """Another body is refused by the library that gateways use."""
    body = b'{"amount":1}'
    headers = signed_headers([SECRET], body, now_ms())
    Webhook(SECRET).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(b'{"amount":2}', headers)


def test_a_rotation_signs_with_both_secrets():
    """A gateway verifies with the old secret or the new one, and with no third."""
    body, old, third = b"{}", "whsec_" + "b" * 32, "whsec_" + "c" * 32
    headers = signed_headers([SECRET, old], body, now_ms())
    for secret in (SECRET, old):
        Webhook(secret).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(third).verify(body, headers)


def test_each_request_has_an_id_of_its_own():
    """Two requests with the same body can be told apart."""
    ids = {signed_headers([SECRET], b"", now_ms())["webhook-id"] for _ in range(2)}
    assert len(ids) == 2
