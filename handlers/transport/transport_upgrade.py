"""Engine.IO transport upgrade: moves a session from long polling to a WebSocket.

Source: Engine.IO protocol version 4, upgrade: the client sends `2probe`, the server answers
`3probe`, the client sends `5`.
"""

import asyncio
from typing import Protocol

from handlers.websocket.rfc6455 import TEXT
from handlers.websocket.websocket import WebSocket

_PROBE_PING, _PROBE_PONG, _UPGRADE_PACKET = "2probe", b"3probe", "5"


class UpgradableSession(Protocol):
    """The polling session that may be upgraded."""

    def on_probed(self) -> None:
        """End the waiting poll: the WebSocket works."""
        ...

    def on_upgraded(self, ws: WebSocket) -> None:
        """Use the WebSocket from now on."""
        ...

    def on_upgrade_failed(self) -> None:
        """Keep polling."""
        ...


class TransportUpgrade:
    """One attempt to upgrade a session. Units: `timeout_s` in seconds, for the whole attempt."""

    __slots__ = ("_session", "_timer", "_ws")

    def __init__(self, ws: WebSocket, session: UpgradableSession, timeout_s: float) -> None:
        self._ws = ws
        self._session = session
        self._timer = asyncio.get_running_loop().call_later(timeout_s, self.cancel)
        ws.on_text = self._on_probe_ping
        ws.on_end = self.cancel

    def _on_probe_ping(self, text: str) -> None:
        if text != _PROBE_PING:
            self.cancel()
            return
        self._ws.on_text = self._on_upgrade_packet
        self._ws.write_short_frame(TEXT, _PROBE_PONG)
        self._session.on_probed()

    def _on_upgrade_packet(self, text: str) -> None:
        if text != _UPGRADE_PACKET:
            self.cancel()
            return
        self._timer.cancel()
        self._session.on_upgraded(self._ws)

    def cancel(self, _reason: str = "") -> None:
        """Drop the WebSocket; the session keeps polling."""
        self._timer.cancel()
        self._ws.discard_input()
        self._ws.on_end = _ignore_end
        self._ws.abort()
        self._session.on_upgrade_failed()


def _ignore_end(_reason: str) -> None:
    """Ignore the end of a WebSocket that was dropped."""
