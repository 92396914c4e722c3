"""A small HTTP client of the public interface: the envelope, idempotency keys, patience."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import aiohttp
import orjson

from city.demo.counters import Counters

REQUEST_TIMEOUT_S = 10.0
# A server that restarts is away for seconds; after so many tries it is not a restart any more.
TRIES_MAX = 8
BACKOFF_BASE_S = 0.3
BACKOFF_CAP_S = 5.0
# Source: RFC 9110 sections 15.6.4 (503) and 15.6.3 (502); RFC 6585 section 4 (429).
RETRYABLE = frozenset({429, 502, 503})


class ApiRefused(Exception):
    """The server said no; `status` 0 means that it could not be reached at all."""

    def __init__(self, route: str, code: str, status: int) -> None:
        super().__init__(route, code, status)
        self.route = route
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """One HTTP answer with its envelope opened."""

    status: int
    data: Any
    code: str
    retry_after_s: float | None


@dataclass(slots=True)
class Api:
    """The HTTP side of one person's app."""

    session: aiohttp.ClientSession
    url: str
    token_source: Callable[[], str]
    counters: Counters
    rng: Random
    _cached_token: str = ""

    async def get(self, path: str, **query: str | int) -> Any:
        """Read something.

        Errors: ApiRefused.
        """
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return await self._request("GET", f"{path}?{text}" if text else path, None)

    async def put(self, path: str, body: dict[str, Any]) -> Any:
        """Set something.

        Errors: ApiRefused.
        """
        return await self._request("PUT", path, body)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Do something once; its repeats after a lost answer carry the same key.

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
            answer = await self._send_once(method, path, headers, content)
            if answer.status in range(200, 300):
                return answer.data
            is_last = attempt == TRIES_MAX - 1
            if answer.status not in RETRYABLE | {0} or answer.code == "service_disabled" or is_last:
                raise ApiRefused(route, answer.code, answer.status)
            self.counters.count(f"http_repeated:{answer.code}")
            pause = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2**attempt)
            await asyncio.sleep(answer.retry_after_s or self.rng.uniform(0.1, 1) * pause)
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
        spent_ms = (asyncio.get_running_loop().time() - started_s) * 1000
        self.counters.record_duration(f"http_{method.lower()}", spent_ms)
        return _parse_response(response, raw)

    def _token(self) -> str:
        # Signed once: a token outlives every demo, and signing costs more than asking.
        if not self._cached_token:
            self._cached_token = self.token_source()
        return self._cached_token


def _parse_response(response: aiohttp.ClientResponse, raw: bytes) -> ApiResponse:
    try:
        envelope = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return ApiResponse(response.status, None, "not_json", None)
    facts = envelope if isinstance(envelope, dict) else {}
    error = facts.get("error")
    code = str(error.get("code", "no_code")) if isinstance(error, dict) else "no_envelope"
    after = response.headers.get("Retry-After", "")
    status = response.status
    if status < 300 and facts.get("success") is not True:
        # A success without its envelope breaks the contract; treat it as a refusal to show it.
        return ApiResponse(599, None, "no_envelope", None)
    return ApiResponse(status, facts.get("data"), code, float(after) if after.isdigit() else None)
