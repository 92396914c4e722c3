"""Engine.IO packets: their types, the refusal of a bad one, and how long polling carries them.

Source: Engine.IO protocol version 4.
"""

import asyncio
from typing import Final

from aiohttp import web

# The first character of a packet.
OPEN: Final = "0"
CLOSE: Final = "1"
PING: Final = "2"
PONG: Final = "3"
MESSAGE: Final = "4"
NOOP: Final = "6"
# In long polling: a binary message in base64.
BINARY_MESSAGE: Final = "b"
# Between the packets of a request's body.
_SEPARATOR = "\x1e"


class BadPacket(Exception):
    """A client sent a packet outside the protocol; its session ends with `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class EncodedPacket:
    """An encoded text packet with the interface that engineio's polling code expects."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def encode(self, *, b64: bool = False) -> str:
        """Return the packet; `b64` concerns binary packets, which do not occur here."""
        _ = b64
        return self._text


async def read_posted_packets(request: web.Request, bytes_max: int, timeout_s: float) -> list[str]:
    """Read the packets of a POST request.

    Units: `bytes_max` of the whole body; `timeout_s` in seconds until its end.
    Errors: BadPacket where the body is too long, too slow, broken or not UTF-8.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > bytes_max:
                    raise BadPacket("oversized")
        return body.decode().split(_SEPARATOR)
    except TimeoutError:
        raise BadPacket("slow_sender") from None
    except ConnectionError:
        raise BadPacket("transport_closed") from None
    except (UnicodeDecodeError, web.RequestPayloadError):
        raise BadPacket("malformed") from None
