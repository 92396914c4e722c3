"""A client without a network: records packets, and lets a test deliver positions."""

from collections.abc import Callable
from typing import Any


class StubSocket:
    """Takes the place of `bench.common.client.SocketClient`."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.on_position: Callable[[bytes], None] | None = None

    def send(self, packet: bytes) -> None:
        self.sent.append(packet)

    async def call(self, name: str, payload: object) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        """Nothing is open."""


def sent_times(socket: StubSocket) -> list[int]:
    """The `ts` of each fix that was sent. Units: Unix milliseconds."""
    return [int(packet.split(b'"ts":')[1].split(b",")[0]) for packet in socket.sent]


def position(at_ms: int) -> bytes:
    """A position of that time as a watcher receives it."""
    return b'42/user,["rider_location_update",{"ts":%d,"seq":1}]' % at_ms
