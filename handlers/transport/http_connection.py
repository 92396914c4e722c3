"""HTTP connection: aiohttp's protocol with chosen limits, and faults answered in the envelope."""

# Uses a private name of aiohttp; docs/library-internals.md has it.
# pyright: reportPrivateUsage=false

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import msgspec
import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from dispatch import metrics
from handlers.transport.request_checks import RequestFault, find_fault
from handlers.transport.unread_body import send_before_body, stop_reading

# Bounds of the head of one request; docs/decisions/0024 has the reasons.
REQUEST_LINE_BYTES_MAX = 8_190
HEADER_BYTES_MAX = 8_190
HEADERS_MAX = 64
# Of a head that is not complete: a connection may hold this much of it in memory.
HEAD_BYTES_MAX = 32 * 1024
# Lines that one request may consist of, if they are short: chunks of one byte, or requests sent
# without waiting for the answers. Source: measured 2026-11-30, parsing and reading a chunk takes
# 1.3 us, so that a body of 64 KiB in chunks of one byte took 86 ms; text has longer lines.
SHORT_LINES_MAX = 1_024
SHORT_LINE_BYTES = 16
# aiohttp's own keep-alive timer, which would also cut a request whose head has begun to arrive. The
# idle reaper ends idle connections long before.
_LIBRARY_KEEPALIVE_S = 24 * 3600.0

# How long requests under way may take when the server ends. Source: chosen; the sockets have been
# closed over several seconds before.
SHUTDOWN_S = 1.0

# Options of aiohttp's protocol, each chosen. Source: docs/decisions/0024.
HTTP_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        # One request of 972 KB inflates to 1 GB.
        "auto_decompress": False,
        "max_line_size": REQUEST_LINE_BYTES_MAX,
        "max_field_size": HEADER_BYTES_MAX,
        "max_headers": HEADERS_MAX,
        "keepalive_timeout": _LIBRARY_KEEPALIVE_S,
        # The HTTP gate reads a short rest of a body; aiohttp would read for ten seconds.
        "lingering_time": 0,
        # Of a body that is not read yet twice as much is kept in memory, and then reading stops.
        "read_bufsize": 64 * 1024,
        "tcp_keepalive": True,
        "access_log": None,
        "debug": False,
    }
)

RequestHandlerFunction = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)


class Wait(NamedTuple):
    """What a connection waits for its client to do; equal as long as the client does nothing.

    `head`: to send the first request, or the rest of a request's headers; `next`: to send another
    request; `read`: to read an answer.
    """

    kind: Literal["head", "next", "read"]
    answered_requests: int = 0
    unsent_bytes: int = 0


class Faults(NamedTuple):
    """How faults are answered: the response for a status, code and message, and its delay.

    Units: `delay_s` in seconds, for a client's address.
    """

    respond: Callable[[int, str, str], web.Response]
    delay_s: Callable[[str], float]

    async def pace(self, request: web.BaseRequest) -> None:
        """Wait before the answer to a fault."""
        if delay_s := self.delay_s(request.remote or ""):
            await asyncio.sleep(delay_s)


class HttpConnection(web.RequestHandler):
    """One HTTP connection. Every fault is answered in the envelope, none with a traceback."""

    __slots__ = (
        "_answered_requests",
        "_faults",
        "_has_fault",
        "_is_refusing",
        "_partial_head_bytes",
        "_received_bytes",
        "_received_lines",
    )  # fmt: skip

    def __init__(self, server: web.Server, faults: Faults) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **HTTP_OPTIONS)
        self._faults = faults
        self._answered_requests = 0
        self._partial_head_bytes = 0
        # Input is no longer parsed, and the connection ends after its answer.
        self._is_refusing = False
        # The answer under way is to input that is not HTTP.
        self._has_fault = False
        # Since the last answer.
        self._received_bytes = 0
        self._received_lines = 0

    @property
    def is_busy(self) -> bool:
        """Whether a request has arrived whose answer is not sent yet."""
        return self._request_count > self._answered_requests

    @property
    def wait(self) -> Wait | None:
        """What the connection waits for; None while a request is being handled."""
        if self.is_busy:
            unsent = 0 if self.transport is None else self.transport.get_write_buffer_size()
            return Wait("read", self._answered_requests, unsent) if unsent else None
        is_between_requests = self._answered_requests > 0 and not self._partial_head_bytes
        return Wait("next" if is_between_requests else "head", self._answered_requests)

    def data_received(self, data: bytes) -> None:
        """Parse input; too long a head and too many short lines are refused before that."""
        if self._is_refusing:
            return
        self._received_bytes += len(data)
        self._received_lines += data.count(b"\r\n")
        if (
            self._received_lines > SHORT_LINES_MAX
            and self._received_bytes < self._received_lines * SHORT_LINE_BYTES
        ):
            self._refuse_input(_TOO_MANY_LINES)
            return
        was_busy = self.is_busy
        super().data_received(data)
        if was_busy or self.is_busy:
            self._partial_head_bytes = 0
            return
        self._partial_head_bytes += len(data)
        if self._partial_head_bytes > HEAD_BYTES_MAX:
            self._refuse_input(_HEAD_TOO_LONG)

    def _refuse_input(self, fault: RequestFault) -> None:
        """End the connection; with an answer where none is under way."""
        transport = self.transport
        if transport is None:
            return
        metrics.HTTP_REQUESTS.labels("none", "any", str(fault.status)).inc()
        transport.pause_reading()
        answer = b"" if self.is_busy else _encode_fault(fault)
        peer = transport.get_extra_info("peername")
        delay_s = self._faults.delay_s(peer[0] if peer else "")
        asyncio.get_running_loop().call_later(delay_s, self._end, answer)
        self._is_refusing = True

    def _end(self, answer: bytes) -> None:
        """Send the last answer and close."""
        if self.transport is not None:
            self.transport.write(answer)
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the HTTP gate never sees: bytes that are not HTTP, and faults of routing."""
        _ = message
        if isinstance(exc, HttpProcessingError):
            metrics.HTTP_REQUESTS.labels("none", "any", "400").inc()
            # The traceback refers to the parser's frame, which refers to the error: a reference
            # cycle that keeps the connection until the next garbage collection.
            # Source: measured, 70 of 1,000 bad requests were still in memory.
            exc.__traceback__ = None
            self._has_fault = True
            response = self._faults.respond(400, "malformed", "the request is not valid HTTP")
        else:
            log.error("request_failed", status=status, exc_info=exc)
            if request.writer.output_size:
                # A part of an answer was sent; the library closes the connection.
                raise ConnectionResetError
            response = self._faults.respond(500, "internal", "something went wrong on our side")
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response; an error page of aiohttp's own is sent in the envelope."""
        if self._has_fault:
            await self._faults.pace(request)
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            resp = self._faults.respond(resp.status, "malformed", resp.reason.lower())
        # The library would name itself and its version.
        resp.headers["Server"] = "reeyo"
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._answered_requests += 1
            self._received_bytes = self._received_lines = 0


_HEAD_TOO_LONG = RequestFault(431, "malformed", "the headers are too long")
_TOO_MANY_LINES = RequestFault(400, "malformed", "the request has too many short lines")
_REASONS = {400: "Bad Request", 431: "Request Header Fields Too Large"}


def _encode_fault(fault: RequestFault) -> bytes:
    """The bytes of a refusal for input that the library has not parsed."""
    error = {"code": fault.code, "message": fault.message}
    body = msgspec.json.encode({"success": False, "error": error})
    head = (
        f"HTTP/1.1 {fault.status} {_REASONS[fault.status]}\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class HttpServer:
    """A server of an application, without a listener; called, it makes a new connection."""

    def __init__(self, runner: web.AppRunner, faults: Faults) -> None:
        assert runner.server is not None, "the runner is set up"
        self._runner = runner
        self._server = runner.server
        self._faults = faults
        self._server.request_handler = _checked(self._server.request_handler, faults)

    def __call__(self) -> HttpConnection:
        """Make the protocol of a new connection."""
        return HttpConnection(self._server, self._faults)

    @property
    def connections(self) -> list[HttpConnection]:
        """The connections that are open."""
        return [each for each in self._server.connections if isinstance(each, HttpConnection)]

    async def close(self) -> None:
        """Close every connection, and let the application clean up."""
        await self._runner.cleanup()


async def open_http_server(app: web.Application, faults: Faults) -> HttpServer:
    """Start an application."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    return HttpServer(runner, faults)


def _checked(handler: RequestHandlerFunction, faults: Faults) -> Any:
    """A handler that refuses what `find_fault` finds, before the application routes it."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        fault = find_fault(request)
        if fault is None:
            return await handler(request)
        metrics.HTTP_REQUESTS.labels("none", "any", str(fault.status)).inc()
        response = faults.respond(*fault)
        if fault.status == 415:
            # Source: RFC 9110 section 15.5.16.
            response.headers["Accept-Encoding"] = "identity"
        response.force_close()
        stop_reading(request)
        await faults.pace(request)
        await send_before_body(request, response)
        return response

    return handle
