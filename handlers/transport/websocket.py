"""Our end of a WebSocket on its TCP connection: pings, goodbyes, and whether the client reads."""

import asyncio
from collections.abc import Callable
from typing import cast

from handlers.transport.frame_reader import (
    CLOSE,
    FIN,
    NORMAL,
    NOT_TEXT,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TOO_BIG,
    UNSUPPORTED,
    Broken,
    Reader,
    deaf,
)
from handlers.transport.read_batch import Turn

# How long somebody who has ended the conversation may take to read what he was told before.
GOODBYE_S = 2.0
# Codes that may be sent, beside those that are free. Source: RFC 6455 section 7.4 and the
# registry of IANA that it founded.
_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
_FREE_CODES = range(3000, 5000)
# Why a connection ends, for logs and counters.
_REASONS = {UNSUPPORTED: "binary", TOO_BIG: "oversized"}


class WebSocket(Reader, asyncio.Protocol):
    """One WebSocket, from after its handshake until its TCP connection is gone.

    Texts are handled in the turn in which they were read: nothing waits for a task, so that nothing
    has to be bounded but the one message that has begun. `ended` is told once why no more will
    come.
    """

    __slots__ = (
        "_lost", "_room", "_timer", "_turn", "ended", "overheard", "transport", "writing_paused",
    )  # fmt: skip

    def __init__(self, message_bytes_max: int, turn: Turn) -> None:
        super().__init__(message_bytes_max)
        self._turn = turn
        self.ended: Callable[[str], object] = _nobody_asks
        # Told of each frame that no app sends in numbers: pings, pongs, parts of messages.
        self.overheard: Callable[[], object] = _nobody_counts
        self.transport: asyncio.Transport | None = None
        self.writing_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._room: asyncio.Future[None] | None = None
        self._lost: asyncio.Future[None] | None = None

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is ours."""
        # uvloop's transports are no subclasses of asyncio's.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """The client has sent something."""
        self._turn.read(self, data)

    def pause_writing(self) -> None:
        """The transport holds more than its high-water mark."""
        self.writing_paused = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self.writing_paused = False
        _wake(self._room)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; whoever waits for it goes on."""
        # However it went, it is gone.
        _ = exc
        self.transport = None
        if self._timer is not None:
            self._timer.cancel()
        _wake(self._room)
        _wake(self._lost)
        self._finish("transport_closed")

    # What the turn calls.

    def read(self, data: bytes) -> None:
        """Read; a client that breaks the protocol is told so and cut."""
        is_whole = False
        try:
            self.feed(data)
            is_whole = True
        except Broken as broken:
            self._say_goodbye(broken.code)
            self._finish(_REASONS.get(broken.code, "malformed"))
            return
        finally:
            if not is_whole and not self.is_deaf:
                # A bug of ours: where in his words we stopped is not known.
                self.abort()
        if self.is_behind:
            self._wait_for_turn()

    def _wait_for_turn(self) -> None:
        """Let the others be heard before the rest of what this one has sent."""
        transport = self.transport
        if transport is None or transport.is_closing() or self.is_deaf:
            return
        # It closes what is read from now on, not what was: its goodbye waits as well.
        transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        self.transport.resume_reading()
        self.read(b"")

    # What its connection calls.

    async def drain(self) -> None:
        """Return when the client reads. Errors: ConnectionError where it is gone."""
        if self.transport is not None and self.writing_paused:
            self._room = asyncio.get_running_loop().create_future()
            await self._room
        if self.transport is None:
            raise ConnectionResetError

    def close(self, patience_s: float) -> None:
        """Say goodbye, and wait for the client's before the connection is closed.

        Source: RFC 6455 section 7.1.1, the server closes after both have said so.
        """
        if self.transport is None or self.transport.is_closing():
            return
        self.hear = deaf
        self._say_goodbye(NORMAL)
        self._timer = asyncio.get_running_loop().call_later(patience_s, self.abort)

    def abort(self) -> None:
        """Throw the connection away, with what the client has not read."""
        if self.transport is not None:
            self.transport.abort()

    async def gone(self) -> None:
        """Wait until the connection is gone."""
        if self.transport is not None:
            self._lost = self._lost or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._lost)

    # What the client says beside texts.

    def on_control(self, opcode: int, payload: bytes) -> None:
        """Answer a ping or a goodbye. Errors: Broken."""
        self.overheard()
        if opcode == PING:
            self.write(PONG, payload)
        elif opcode == CLOSE:
            self._say_goodbye(_code_of(payload))
            self._finish("transport_closed")

    def on_fragment(self) -> None:
        """It may be one of a million without a byte."""
        self.overheard()

    def _say_goodbye(self, code: int) -> None:
        # Where we have said it, this would be the answer to an answer.
        if self._timer is None:
            self.write(CLOSE, code.to_bytes(2, "big"))

    def write(self, opcode: int, payload: bytes) -> None:
        """Send a frame of at most 125 bytes; one who does not read has no use for it."""
        transport = self.transport
        if transport is not None and not self.writing_paused and not transport.is_closing():
            transport.write(bytes((FIN | opcode, len(payload))) + payload)

    def _finish(self, reason: str) -> None:
        """Nothing more is heard; what was written before goes out."""
        self.forget()
        if self.transport is not None:
            self.transport.close()
            if self._timer is None:
                # Whoever does not read would hold the connection for as long as he likes.
                self._timer = asyncio.get_running_loop().call_later(GOODBYE_S, self.abort)
        # Each of the two knows the other.
        ended, self.ended = self.ended, _nobody_asks
        self.overheard = _nobody_counts
        ended(reason)


def _code_of(payload: bytes) -> int:
    """The code to answer a goodbye with. Errors: Broken. Source: RFC 6455 section 5.5.1."""
    if not payload:
        return NORMAL
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in _CODES or code in _FREE_CODES):
        raise Broken(PROTOCOL_ERROR)
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise Broken(NOT_TEXT) from None
    return code


def _wake(waiting: "asyncio.Future[None] | None") -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


def _nobody_counts() -> None:
    """A connection whose frames are nobody's yet, or no more."""


def _nobody_asks(_reason: str) -> None:
    """A connection that nobody has opened, or whose end was told."""
