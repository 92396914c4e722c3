"""Connections in memory: bytes arrive in order and late, and a connection may be cut."""

import asyncio
import contextvars
import random
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

# Bytes that may be on their way or unread before a writer is asked to wait, and to go on.
HIGH_BYTES, LOW_BYTES = 64 * 1024, 16 * 1024
# Between two deliveries of one connection, so that they keep their order.
TICK_S = 4e-6

# Who speaks to whom -> how long the way of the next bytes is. Units: seconds.
Ways = Callable[[str, str, random.Random], float]


class Plug:
    """Stands for a bound socket where a server wants one."""

    family = socket.AF_INET

    def __init__(self, name: str) -> None:
        self.name = name

    def getsockname(self) -> tuple[str, int]:
        """Where it is bound."""
        return self.name, 80


class Listener:
    """A name at which a process takes connections; what aiohttp holds of its server."""

    def __init__(self, factory: Callable[[], Any], plug: Plug, life: Any) -> None:
        self.factory = factory
        self.plug = plug
        self.life = life
        self.context = contextvars.copy_context()
        self.is_open = True
        self.sockets = [plug]

    def close(self) -> None:
        """Take no more connections."""
        self.is_open = False

    async def wait_closed(self) -> None:
        """It is closed at once."""


class Network:
    """Every connection of the town, and the names one can connect to."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.ways: Ways = _short
        self._listeners: dict[str, Listener] = {}
        self._ends: dict[int, End] = {}
        self._made = 0

    def listen(self, listener: Listener) -> Listener:
        """Take connections under the name of the plug."""
        self._listeners[listener.plug.name] = listener
        return listener

    async def connect(self, factory: Callable[[], Any], name: str, life: Any) -> tuple[Any, Any]:
        """Open a connection. Errors: ConnectionRefusedError."""
        self._made += 1
        number = self._made
        chance = random.Random(number)
        here = life.name if life is not None else "client"
        await asyncio.sleep(self.ways(here, name, chance))
        listener = self._listeners.get(name)
        if listener is None or not listener.is_open:
            raise ConnectionRefusedError(f"nobody listens at {name}")
        near = End(self, 2 * number, (here, name), life)
        far = End(self, 2 * number + 1, (name, here), listener.life)
        far.context = listener.context.copy()
        near.peer, far.peer = far, near
        self._ends[near.number], self._ends[far.number] = near, far
        self.loop.call_soon(far.begin, listener.factory, context=far.context)
        protocol = factory()
        near.begin(lambda: protocol)
        return near, protocol

    def cut_all(self, life: Any) -> None:
        """A process is gone: its connections break, its names answer no more."""
        for name, listener in list(self._listeners.items()):
            if listener.life is life:
                listener.close()
                del self._listeners[name]
        for end in [end for end in self._ends.values() if end.life is life]:
            end.break_off()

    def cut(self, name: str) -> int:
        """Break every connection to a name; returns how many they were."""
        ends = [end for end in self._ends.values() if end.route[0] == name]
        for end in ends:
            end.break_off()
        return len(ends)

    def forget(self, end: "End") -> None:
        """The connection is over on this side."""
        self._ends.pop(end.number, None)


class End(asyncio.Transport):
    """One side of a connection."""

    peer: "End"

    def __init__(self, network: Network, number: int, route: tuple[str, str], life: Any) -> None:
        name, place = ("peername", (route[1], number)), ("sockname", (route[0], 80))
        super().__init__(dict((name, place, ("end", self))))
        self.number = number
        self.route = route
        self.life = life
        self.context = contextvars.copy_context()
        self._network = network
        self._loop = network.loop
        self._chance = random.Random(number)
        self._protocol: Any = None
        self._due_s = 0.0
        self._is_closing = False
        self._is_lost = False
        # What has arrived and is not read yet.
        self._unread: deque[bytes] = deque()
        self._is_reading = True
        # What was sent and is not read yet by the peer.
        self._waiting = 0
        self._is_paused = False

    def begin(self, factory: Callable[[], Any]) -> None:
        """The connection stands."""
        self._protocol = factory()
        self._protocol.connection_made(self)

    # What a protocol asks of its transport.

    def write(self, data: Any) -> None:
        """Send bytes."""
        if self._is_closing or self._is_lost or not data:
            return
        raw = bytes(data)
        self._waiting += len(raw)
        self._later(self.peer._arrived, raw)
        if self._waiting > HIGH_BYTES and not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._is_closing or self._is_lost

    def close(self) -> None:
        """Send what was written, and no more."""
        if not self.is_closing():
            self._is_closing = True
            self._later(self.peer._ended, None)
            self._loop.call_soon(self._lost, None, context=self.context)

    def abort(self) -> None:
        """End without a word."""
        self.break_off()

    def can_write_eof(self) -> bool:
        """It cannot."""
        return False

    def pause_reading(self) -> None:
        """Keep what arrives."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Hand over what was kept."""
        self._is_reading = True
        self._loop.call_soon(self._hand_over, context=self.context)

    def is_reading(self) -> bool:
        """Whether what arrives is handed over."""
        return self._is_reading and not self.is_closing()

    def get_protocol(self) -> Any:
        """Who listens to this end."""
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        """Let another one listen."""
        self._protocol = protocol

    def get_write_buffer_size(self) -> int:
        """Bytes the peer has not read."""
        return self._waiting

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """They are the same for all."""

    # What happens to it.

    def break_off(self) -> None:
        """The connection breaks: what is on its way is lost, and both sides learn of it."""
        for end in (self, self.peer):
            if not end._is_lost:
                reset = ConnectionResetError("the connection broke")
                end._loop.call_soon(end._lost, reset, context=end.context)

    def _later(self, arrive: Callable[[Any], None], what: Any) -> None:
        way_s = self._network.ways(*self.route, self._chance)
        self._due_s = max(self._due_s + TICK_S, self._loop.time() + way_s)
        self._loop.call_at(self._due_s, arrive, what, context=self.peer.context)

    def _arrived(self, data: bytes) -> None:
        if not self._is_lost:
            self._unread.append(data)
            self._hand_over()

    def _hand_over(self) -> None:
        while self._unread and self._is_reading and not self._is_lost and not self._is_closing:
            data = self._unread.popleft()
            self.peer._was_read(len(data))
            self._protocol.data_received(data)

    def _was_read(self, size: int) -> None:
        self._waiting -= size
        if self._is_paused and self._waiting <= LOW_BYTES and not self._is_lost:
            self._is_paused = False
            self._loop.call_soon(self._protocol.resume_writing, context=self.context)

    def _ended(self, _nothing: None) -> None:
        if not self._is_lost and not self._is_closing:
            self._protocol.eof_received()
            self._lost(None)

    def _lost(self, error: Exception | None) -> None:
        if self._is_lost:
            return
        self._is_lost = self._is_closing = True
        self._unread.clear()
        self._network.forget(self)
        if self._protocol is not None:
            self._protocol.connection_lost(error)


def _short(_from: str, _to: str, _chance: random.Random) -> float:
    return 0.001
