"""Has payouts paid through the operator's gateway: one reference, sent as often as it takes."""

from typing import Annotated, Any, Literal

import aiohttp
import msgspec
import structlog
from msgspec import Meta

from dispatch.clock import Clock
from dispatch.money.payout_providers import ProviderReport, ProviderStatus
from handlers.gateways.request_signing import signed_headers
from ledger.core.money import CURRENCY
from ledger.records.payouts import Payout

# A provider's network may take its time; what is not known by then is asked for five seconds later.
CALL_S_MAX = 10.0
# Longer than any answer that says what we ask.
RESPONSE_BYTES_MAX = 16 * 1024

log = structlog.get_logger(__name__)


class _Response(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway says of a reference; what we do not know is ignored. Units: whole XAF."""

    status: Literal["PENDING", "PAID", "FAILED"]
    fee: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    reason: Annotated[str, Meta(max_length=200)] = ""


_STATUSES = {
    "PENDING": ProviderStatus.UNKNOWN,
    "PAID": ProviderStatus.PAID,
    "FAILED": ProviderStatus.FAILED,
}


class PayoutGateway:
    """A payout provider behind `PAYOUT_URL`.

    Shapes: `PUT {url}/{reference}` `{payoutId, reference, amount, currency, destination}` asks,
    `GET {url}/{reference}` looks; both answer `{status: PENDING|PAID|FAILED, fee?, reason?}`, the
    second 404 where the reference was never heard of. All of them are signed.
    """

    def __init__(self, url: str, secret: str, clock: Clock) -> None:
        self._url = url.rstrip("/")
        self._secret = secret
        self._clock = clock

    async def submit(self, payout: Payout, reference: str) -> ProviderReport:
        """Ask it to pay; whatever is not a clear word is UNKNOWN, for the money may be gone."""
        body = {
            "payoutId": payout.payout_id,
            "reference": reference,
            "amount": payout.amount,
            "currency": CURRENCY,
            "destination": payout.destination,
        }
        return await self._request("PUT", reference, msgspec.json.encode(body))

    async def check_status(self, payout: Payout, reference: str) -> ProviderReport:
        """Ask it what has come of a reference."""
        return await self._request("GET", reference, b"")

    async def _request(self, method: str, reference: str, body: bytes) -> ProviderReport:
        headers = signed_headers(self._secret, body, self._clock.now_ms())
        timeout = aiohttp.ClientTimeout(total=CALL_S_MAX)
        url: Any = f"{self._url}/{reference}"
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.request(method, url, data=body or None, headers=headers) as answer,
            ):
                raw = await answer.content.read(RESPONSE_BYTES_MAX)
                status = answer.status
        except (TimeoutError, aiohttp.ClientError) as error:
            return _report_unknown(reference, type(error).__name__)
        if status == 404 and method == "GET":
            return ProviderReport(ProviderStatus.NOT_FOUND)
        if status >= 300:
            return _report_unknown(reference, str(status))
        try:
            told = msgspec.json.decode(raw, type=_Response)
        except msgspec.DecodeError as error:
            return _report_unknown(reference, str(error))
        return ProviderReport(_STATUSES[told.status], told.fee, told.reason)


def _report_unknown(reference: str, cause: str) -> ProviderReport:
    log.warning("payout_unclear", reference=reference, cause=cause)
    return ProviderReport(ProviderStatus.UNKNOWN)
