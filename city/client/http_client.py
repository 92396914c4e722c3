"""HTTP client of the public interface: envelope, idempotency keys, retries."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import aiohttp
import orjson

from city.model.counters import Counters

REQUEST_TIMEOUT_S = 10.0
# A restarting server is away for seconds; these tries last longer than that.
TRIES_MAX = 8
BACKOFF_BASE_S = 0.3
BACKOFF_CAP_S = 5.0
# Source: RFC 9110 sections 15.6.4 (503) and 15.6.3 (502); RFC 6585 section 4 (429).
RETRYABLE = frozenset({429, 502, 503})


class ApiRefused(Exception):
    """The server refused a request; `status` 0 means that it could not be reached."""

    def __init__(self, route: str, code: str, status: int) -> None:
        super().__init__(route, code, status)
        self.route = route
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """One HTTP response without its envelope. Units: seconds."""

    status: int
    data: Any
    code: str
    retry_after_s: float | None


@dataclass(slots=True)
class Api:
    """The HTTP side of one user's app. Units: seconds."""

    session: aiohttp.ClientSession
    url: str
    token_source: Callable[[], str]
    counters: Counters
    rng: Random
    backoff_base_s: float = BACKOFF_BASE_S
    _cached_token: str = ""

    async def get(self, path: str, **query: str | int) -> Any:
        """Send a GET request; its data.

        Errors: ApiRefused.
        """
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return await self._request("GET", f"{path}?{text}" if text else path, None)

    async def put(self, path: str, body: dict[str, Any]) -> Any:
        """Send a PUT request; its data.

        Errors: ApiRefused.
        """
        return await self._request("PUT", path, body)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send a POST request; its data. Its repeats carry the same idempotency key.

        Errors: ApiRefused.
        """
        return await self._request("POST", path, body)

    async def _request(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        headers = {"Authorization": f"Bearer {self._token()}"}
        if method == "POST":
            headers["Idempotency-Key"] = f"key_{self.rng.getrandbits(96):024x}"
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = orjson.dumps(body)
        route = f"{method} {path.partition('?')[0]}"
        for attempt in range(TRIES_MAX):
            response = await self._send_once(method, path, headers, content)
            if response.status in range(200, 300):
                return response.data
            is_last = attempt == TRIES_MAX - 1
            is_final = response.status not in RETRYABLE | {0} or response.code == "service_disabled"
            if is_final or is_last:
                raise ApiRefused(route, response.code, response.status)
            self.counters.count(f"http_repeated:{response.code}")
            pause_s = min(BACKOFF_CAP_S, self.backoff_base_s * 2**attempt)
            await asyncio.sleep(response.retry_after_s or self.rng.uniform(0.1, 1) * pause_s)
        raise AssertionError("the last attempt returns or raises")

    async def _send_once(
        self, method: str, path: str, headers: dict[str, str], content: bytes | None
    ) -> ApiResponse:
        started_s = asyncio.get_running_loop().time()
        try:
            async with self.session.request(
                method,
                f"{self.url}/api/v1{path}",
                data=content,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            return ApiResponse(0, None, type(error).__name__, None)
        latency_ms = (asyncio.get_running_loop().time() - started_s) * 1000
        self.counters.record_duration(f"http_{method.lower()}", latency_ms)
        return _parse_response(response, raw)

    def _token(self) -> str:
        # Signed once: a token is valid longer than a demo, and signing costs more than a request.
        if not self._cached_token:
            self._cached_token = self.token_source()
        return self._cached_token


def _parse_response(response: aiohttp.ClientResponse, raw: bytes) -> ApiResponse:
    try:
        envelope = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return ApiResponse(response.status, None, "not_json", None)
    fields = envelope if isinstance(envelope, dict) else {}
    error = fields.get("error")
    code = str(error.get("code", "no_code")) if isinstance(error, dict) else "no_envelope"
    after = response.headers.get("Retry-After", "")
    status = response.status
    if status < 300 and fields.get("success") is not True:
        # A success without its envelope breaks the contract; it is treated as a refusal.
        return ApiResponse(599, None, "no_envelope", None)
    return ApiResponse(status, fields.get("data"), code, float(after) if after.isdigit() else None)
