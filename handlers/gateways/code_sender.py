"""Brings codes to phones: through the operator's gateway, or into a developer's hands."""

from typing import Any

import aiohttp
import msgspec
import structlog

from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.settings import Settings
from handlers.gateways.request_signing import signed_headers

# A person waits for it, and a request has fifteen seconds in all.
SEND_S_MAX = 5.0

log = structlog.get_logger(__name__)


class CodeSender:
    """Sends a code to whoever has the phone."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._url = settings.code_url
        self._secret = settings.webhook_secret
        self._returns_code = settings.dev and settings.code_url is None
        self._clock = clock

    def require_enabled(self) -> None:
        """Whether codes are sent at all. Errors: Refused SERVICE_DISABLED."""
        if self._url is None and not self._returns_code:
            raise Refused(Refusal.SERVICE_DISABLED, "nobody here sends codes")

    async def send(self, phone: str, code: str, expires_at_ms: int) -> dict[str, Any]:
        """Send it; what the answer to the request says beside that it was.

        Shapes: the gateway is sent `{phone, code, expiresAt}`, signed by Standard Webhooks, and
        says 2xx where it will try.
        Errors: Refused UNAVAILABLE.
        """
        if self._url is None:
            return {"devCode": code}
        body = msgspec.json.encode({"phone": f"+{phone}", "code": code, "expiresAt": expires_at_ms})
        headers = signed_headers(self._secret, body, self._clock.now_ms())
        timeout = aiohttp.ClientTimeout(total=SEND_S_MAX)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.post(self._url, data=body, headers=headers) as answer,
            ):
                is_taken = answer.status < 300
                cause = str(answer.status)
        except (TimeoutError, aiohttp.ClientError) as error:
            is_taken, cause = False, type(error).__name__
        if not is_taken:
            log.warning("code_not_sent", cause=cause)
            raise Refused(Refusal.UNAVAILABLE, "the code could not be sent; try again in a moment")
        return {}
