"""Anonymous attacker, run as a process of its own: forty connections that send without a token."""

import asyncio
import gzip
import time
from contextlib import suppress
from functools import partial
from itertools import cycle

from tests.e2e.attacker import Flood, connect, serve_floods

CONNECTIONS = 40
# Longer than any delay of an answer, shorter than a phase.
ANSWER_S_MAX = 5.0
# A gigabyte of zeros, compressed twice over the limit of a body, without authentication.
_BOMB = gzip.compress(bytes(64 * 1024 * 1024))


def _get(path: str, method: str = "GET", headers: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode()


def _post(path: str, body: bytes = b"{}", headers: str = "") -> bytes:
    return _get(path, "POST", f"{headers}Content-Length: {len(body)}\r\n") + body


_LOGIN = b'{"userType":"USER","phone":"+237690000000","password":"a password"}'
_UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_CHUNKED = _get("/api/v1/auth/login", "POST", "Transfer-Encoding: chunked\r\n")

# What is sent in turns, by group.
INPUTS: dict[str, tuple[bytes, ...]] = {
    # Not /metrics, which the network cannot reach outside of --dev.
    "documents": tuple(map(_get, ("/docs", "/openapi.json", "/asyncapi.json"))),
    "pages": tuple(map(_get, ("/", "/console", "/console/", "/console/session.json", "/nowhere"))),
    "probes": (_get("/healthz"), _get("/readyz"), _get("/readyz", "HEAD"), _get("/", "OPTIONS")),
    "endpoints": (
        _get("/api/v1/config"),
        _get("/api/v1/config/service/food"),
        _get("/api/v1/orders"),
        _get("/api/v1/orders", headers=f"Authorization: Bearer {'a' * 4_000}\r\n"),
        _get("/api/v1/wallet/balance", headers="Authorization: Bearer a.b.c\r\n"),
        _post("/api/v1/webhooks/payments/sandbox"),
    ),
    "sign_in": (
        _post("/api/v1/auth/login", _LOGIN),
        _post("/api/v1/auth/otp/request", b'{"userType":"USER","phone":"+237690000000"}'),
        _post("/api/v1/auth/refresh", b'{"refreshToken":"a.b.c"}'),
        _post("/api/v1/auth/register", b"[" * 60_000),
    ),
    "sockets": (
        _get("/socket.io/"),
        _get("/socket.io/?EIO=4&transport=polling&sid=x"),
        _get("/socket.io/?EIO=4&transport=websocket", headers=_UPGRADE),
        _post("/socket.io/?EIO=4&transport=polling&sid=x", b"4" * 60_000),
        _get("/socket.io/?EIO=4&transport=polling", "PUT"),
    ),
    "malformed": (
        b"GET /\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        _get("/?x=%0d%0aSet-Cookie:a=b"),
        _get("//evil.example/%00%ff"),
        _get("/console/session.json").replace(b": x", b": x:99999"),
        _get("/", headers="Origin: http://\xff\r\n"),
        _get("evil.example:443", "CONNECT"),
        _get("/", headers="A : b\r\n"),
        _get("/", headers="A: b\r\n" * 200),
        _CHUNKED + b"zz\r\n",
        _post("/api/v1/auth/login", headers="Expect: tea\r\n"),
    ),
    "compressed": (
        _post("/api/v1/auth/login", _BOMB, "Content-Encoding: gzip\r\n"),
        _post("/nowhere", b"abcde", "Content-Encoding: deflate\r\n"),
    ),
    "tiny_chunks": (_CHUNKED + b"1\r\na\r\n" * 60_000,),
    "pipelines": (_get("/healthz") * 5_000,),
    "long_targets": (
        _get("/" * 8_000),
        _get("/?" + "a&" * 4_000),
        _get("/console/" + "a/" * 3_900),
        _get("/", headers=("A: " + "a" * 8_000 + "\r\n") * 50),
    ),
    "long_bodies": (
        _get("/api/v1/orders", "POST", "Content-Length: 100000000\r\n") + b"a" * 1_000_000,
        _get("/nowhere", "POST", "Transfer-Encoding: chunked\r\n")
        + b"10000\r\n" + b"a" * 0x10000 + b"\r\n",
    ),
}  # fmt: skip


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Status of the next answer, and whether the connection stays open.

    Errors: IncompleteReadError, ConnectionError, TimeoutError.
    """
    async with asyncio.timeout(ANSWER_S_MAX):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length: ")[2].split(b"\r\n")[0]
        await reader.readexactly(int(length or 0))
    is_open = head.startswith(b"http/1.1") and b"connection: close" not in head
    return int(head.split()[1]), is_open


async def _send_inputs(flood: Flood, group: str) -> None:
    """Send the inputs of a group in turns over one connection, and again after it has ended."""
    inputs = cycle(INPUTS[group])
    while not flood.is_over:
        with suppress(OSError):
            reader, writer = await connect(flood)
            try:
                while await _send(flood, reader, writer, next(inputs)):
                    pass
            finally:
                writer.transport.abort()


async def _send(
    flood: Flood, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes
) -> bool:
    """Send one input and read its answer; whether the connection can be used on."""
    writer.write(sent)
    flood.sent += 1
    try:
        status, is_open = await _read_answer(reader)
    except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        flood.unanswered += not flood.is_over
        return False
    flood.failed += status >= 500 and status not in (501, 503)
    # HEAD has no body, and a long body is not sent to its end.
    return is_open and not flood.is_over and not sent.startswith((b"HEAD", b"POST"))


async def _flood(flood: Flood, group: str) -> None:
    senders = [asyncio.ensure_future(_send_inputs(flood, group)) for _ in range(CONNECTIONS)]
    await asyncio.wait(senders, timeout=max(0.0, flood.until_s - time.perf_counter()))
    for sender in senders:
        sender.cancel()
    await asyncio.wait(senders)


if __name__ == "__main__":
    serve_floods({group: partial(_flood, group=group) for group in INPUTS})
