"""Payout gateway: pays payouts through the operator's service at `PAYOUT_URL`."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Literal

import aiohttp
import msgspec
import structlog
from msgspec import Meta

from dispatch.clock import Clock
from dispatch.money.payouts.providers import ProviderReport, ProviderStatus
from dispatch.wire.texts import printable
from handlers.gateways.http_session import open_http_session
from handlers.gateways.request_signing import signed_headers
from handlers.gateways.response_body import read_response_body
from ledger.core.money import CURRENCY
from ledger.records.payouts import Payout

# Source: chosen; a provider's network may be slow, and what is unknown by then is checked again
# five seconds later.
CALL_S_MAX = 10.0
# Source: chosen, far longer than any valid answer.
RESPONSE_BYTES_MAX = 16 * 1024

log = structlog.get_logger(__name__)


class _Response(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's answer about a reference; unknown fields are ignored. Units: whole XAF."""

    status: Literal["PENDING", "PAID", "FAILED"]
    fee: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    reason: Annotated[str, Meta(max_length=200)] = ""


_STATUSES: Mapping[str, ProviderStatus] = MappingProxyType(
    {
        "PENDING": ProviderStatus.UNKNOWN,
        "PAID": ProviderStatus.PAID,
        "FAILED": ProviderStatus.FAILED,
    }
)


class PayoutGateway:
    """A payout provider behind `PAYOUT_URL`.

    Shapes: `PUT {url}/{reference}` `{payoutId, reference, amount, currency, destination}` submits a
    payout, `GET {url}/{reference}` reads its status; both answer
    `{status: PENDING|PAID|FAILED, fee?, reason?}`, the second 404 for an unknown reference. All
    requests are signed (`request_signing`).

    Errors: none; whatever is not a clear answer is UNKNOWN, because the money may have gone out.
    """

    def __init__(self, url: str, secrets: Sequence[str], clock: Clock) -> None:
        self._url = url.rstrip("/")
        self._secrets = secrets
        self._clock = clock

    async def submit(self, payout: Payout, reference: str) -> ProviderReport:
        """Submit a payout under a reference; repeating it under the same reference is safe."""
        body = {
            "payoutId": payout.payout_id,
            "reference": reference,
            "amount": payout.amount,
            "currency": CURRENCY,
            "destination": payout.destination,
        }
        return await self._request("PUT", reference, msgspec.json.encode(body))

    async def check_status(self, payout: Payout, reference: str) -> ProviderReport:
        """Read the status of a submitted payout."""
        return await self._request("GET", reference, b"")

    async def _request(self, method: str, reference: str, body: bytes) -> ProviderReport:
        headers = signed_headers(self._secrets, body, self._clock.now_ms())
        url = f"{self._url}/{reference}"
        try:
            async with (
                open_http_session(CALL_S_MAX) as http,
                http.request(method, url, data=body or None, headers=headers) as response,
            ):
                raw = await read_response_body(response, RESPONSE_BYTES_MAX)
                status = response.status
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            return _report_unknown(reference, type(error).__name__)
        if status == 404 and method == "GET":
            return ProviderReport(ProviderStatus.NOT_FOUND)
        if status >= 300:
            return _report_unknown(reference, str(status))
        try:
            answer = msgspec.json.decode(raw, type=_Response)
        except msgspec.DecodeError as error:
            return _report_unknown(reference, str(error))
        return ProviderReport(_STATUSES[answer.status], answer.fee, printable(answer.reason))


def _report_unknown(reference: str, cause: str) -> ProviderReport:
    log.warning("payout_status_unknown", reference=reference, cause=cause)
    return ProviderReport(ProviderStatus.UNKNOWN)
