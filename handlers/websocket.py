"""Our WebSocket: no deflate, bounded frames, and text handed over without a task's turn."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import WebSocketError, WSCloseCode, WSMessage, WSMsgType, web

# Private names of the pinned release; tests/handlers/test_websocket.py holds us to them.
from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader
from aiohttp.http import WebSocketWriter
from aiohttp.web_request import BaseRequest

# Bytes that wait for a reader before TCP is asked to wait. Source: the library's own.
_QUEUE_BYTES = 2**16


class Ear(WebSocketDataQueue):
    """The queue between a connection's bytes and its reader.

    Once `deliver` is set, text does not wait in it: it is handed over as soon as its last byte has
    come, in the order of arrival. That saves a future and a task's turn for each frame.
    """

    deliver: Callable[[str], object] | None = None

    def feed_data(self, data: Any, size: int) -> None:
        """Take one frame. Nothing may be raised from here, the parser would not notice."""
        # What came before the reader was there is still queued, and goes first.
        if self.deliver is not None and data[0] is WSMsgType.TEXT and self._size == 0:
            self.deliver(data[1])
        else:
            super().feed_data(data, size)


class Socket(web.WebSocketResponse):
    """A WebSocket that can hand over text at once.

    Source: measured, 28 KB a connection; with deflate 153 KB.
    """

    def __init__(self, frame_bytes_max: int) -> None:
        # The library refuses a frame of exactly its limit.
        super().__init__(compress=False, max_msg_size=frame_bytes_max + 1)
        self._ear: Ear | None = None
        self._frame_bytes = frame_bytes_max + 1

    def listen(self, deliver: Callable[[str], object]) -> None:
        """From now on hand text to `deliver`; what else comes is for `receive`."""
        assert self._ear is not None, "the handshake is done"
        self._ear.deliver = deliver

    def ignore(self) -> None:
        """Hand over nothing more."""
        if self._ear is not None:
            self._ear.deliver = None

    def _post_start(
        self, request: BaseRequest, protocol: str | None, writer: WebSocketWriter
    ) -> None:
        self._ws_protocol = protocol
        self._writer = writer
        self._ear = Ear(request.protocol, _QUEUE_BYTES, loop=asyncio.get_running_loop())
        self._reader = self._ear
        self._parser = WebSocketReader(
            self._ear, self._frame_bytes, compress=False, decode_text=True
        )
        request.protocol.set_parser(self._parser)
        request.protocol.keep_alive(val=False)


def why(message: WSMessage) -> str:
    """Why a WebSocket told something that is not text."""
    if message.type is WSMsgType.BINARY:
        return "binary"
    if isinstance(message.data, WebSocketError):
        is_long = message.data.code == WSCloseCode.MESSAGE_TOO_BIG
        return "oversized" if is_long else "malformed"
    return "transport_closed"
