"""A polling client tries a WebSocket; where it works the session moves over to it.

Source: Engine.IO protocol version 4, upgrade: `2probe`, `3probe`, then `5`.
"""

import asyncio
from typing import Protocol

from handlers.transport.frame_reader import TEXT
from handlers.transport.websocket import WebSocket

_ASKED, _ANSWERED, _MOVES = "2probe", b"3probe", "5"


class Mover(Protocol):
    """Whose session may move."""

    def answered(self) -> None:
        """The WebSocket works; a poll that waits should let go."""
        ...

    def move(self, ws: WebSocket) -> None:
        """The client speaks over the WebSocket from here on."""
        ...

    def stay(self) -> None:
        """The polls go on as if nothing had been."""
        ...


class Probe:
    """One try. Units: seconds that it may take."""

    __slots__ = ("_mover", "_timer", "_ws")

    def __init__(self, ws: WebSocket, mover: Mover, patience_s: float) -> None:
        self._ws = ws
        self._mover = mover
        self._timer = asyncio.get_running_loop().call_later(patience_s, self.give_up)
        ws.hear = self._expect_question
        ws.ended = self.give_up

    def _expect_question(self, text: str) -> None:
        if text != _ASKED:
            self.give_up()
            return
        self._ws.hear = self._expect_move
        self._ws.write(TEXT, _ANSWERED)
        self._mover.answered()

    def _expect_move(self, text: str) -> None:
        if text != _MOVES:
            self.give_up()
            return
        self._timer.cancel()
        self._mover.move(self._ws)

    def give_up(self, _reason: str = "") -> None:
        """Throw the WebSocket away."""
        self._timer.cancel()
        self._ws.forget()
        self._ws.ended = _over
        self._ws.abort()
        self._mover.stay()


def _over(_reason: str) -> None:
    """Its end was noted."""
