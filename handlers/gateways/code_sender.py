"""Code sender: delivers sign-in codes (OTP) to phones through the operator's gateway."""

from typing import NotRequired, TypedDict

import aiohttp
import msgspec
import structlog

from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.settings import Settings
from handlers.gateways.http_session import open_http_session
from handlers.gateways.request_signing import signed_headers

# Source: chosen; a person waits for the answer, and a request has fifteen seconds in all.
SEND_S_MAX = 5.0

log = structlog.get_logger(__name__)


class SentCode(TypedDict):
    """What the answer may hold about a sent code: under --dev the code itself."""

    devCode: NotRequired[str]


class CodeSender:
    """Sends sign-in codes to `CODE_URL`; under --dev without it, returns them to the caller."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._url = settings.code_url
        self._secrets = settings.code_url_secret
        self._returns_code = settings.dev and settings.code_url is None
        self._clock = clock

    def require_enabled(self) -> None:
        """Check that codes can be sent. Errors: Refused SERVICE_DISABLED."""
        if self._url is None and not self._returns_code:
            raise Refused(Refusal.SERVICE_DISABLED, "sign-in codes are not configured")

    def shown(self, code: str) -> SentCode:
        """What an answer may hold about a live code: nothing where it goes to a gateway."""
        return {"devCode": code} if self._url is None else {}

    async def send(self, phone: str, code: str, expires_at_ms: int) -> SentCode:
        """Send a code to a phone; returns what the answer may hold about it.

        Units: Unix milliseconds.
        Shapes: the gateway gets `{phone, code, expiresAt}`, signed as Standard Webhooks, and
        answers 2xx if it will try to deliver.
        Errors: Refused UNAVAILABLE.
        """
        if self._url is None:
            return self.shown(code)
        body = msgspec.json.encode({"phone": phone, "code": code, "expiresAt": expires_at_ms})
        headers = signed_headers(self._secrets, body, self._clock.now_ms())
        try:
            async with (
                open_http_session(SEND_S_MAX) as http,
                http.post(self._url, data=body, headers=headers) as response,
            ):
                is_accepted = response.status < 300
                cause = str(response.status)
        except (TimeoutError, aiohttp.ClientError) as error:
            is_accepted, cause = False, type(error).__name__
        if not is_accepted:
            log.warning("code_not_sent", cause=cause)
            raise Refused(Refusal.UNAVAILABLE, "the code could not be sent; try again in a moment")
        return {}
