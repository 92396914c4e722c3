"""Socket.IO client of one namespace over one WebSocket, which reconnects until cancelled."""

import asyncio
import contextlib
import os
import socket as sockets
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

from city.client import packets
from city.model.counters import Counters

CONNECT_TIMEOUT_S = 10.0
ACK_TIMEOUT_S = 10.0
# Source: the defaults of the Socket.IO client: reconnectionDelay, -Max and randomizationFactor.
BACKOFF_BASE_S = 1.0
BACKOFF_CAP_S = 5.0
BACKOFF_SPREAD = 0.5
# Source: docs/contract.md, no message comes near 16 KiB; snapshots of a viewport may.
FRAME_BYTES_MAX = 1024 * 1024
# The type checker does not understand the decorator of aiohttp's class.
CLOSE_TIMEOUT = aiohttp.ClientWSTimeout(ws_close=0.3)  # pyright: ignore[reportCallIssue]

OnEvent = Callable[[str, dict[str, Any]], None]


class ConnectionLost(Exception):
    """The connection was lost or the answer timed out; the command's outcome is unknown."""


class CommandRefused(Exception):
    """The server answered a command with an error code."""

    def __init__(self, command: str, code: str, *, retryable: bool) -> None:
        super().__init__(command, code)
        self.command = command
        self.code = code
        self.retryable = retryable


class ConnectionRefused(Exception):
    """The server refused the connection to the namespace."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class ConnectionTarget:
    """Server, namespace and identity of a connection; each attempt gets a fresh token."""

    session: aiohttp.ClientSession
    url: str
    namespace: str
    token_source: Callable[[], str]


@dataclass(slots=True)
class SocketClient:
    """The connection of one user's app.

    Commands need an open connection: `call` sends a command once, `call_until_answered` repeats it.
    Events go to `on_event` in the order in which the server sent them, each durable one once.
    """

    target: ConnectionTarget
    on_event: OnEvent
    counters: Counters
    rng: Random
    connect_count: int = 0
    is_open: bool = False
    # Durable events of this epoch up to this number were passed to `on_event`.
    epoch: str | None = None
    seq: int = 0
    _socket: aiohttp.ClientWebSocketResponse | None = None
    _next_connect: asyncio.Event = field(default_factory=asyncio.Event)
    _pending_acks: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _last_ack_id: int = 0
    _last_command_id: int = 0
    _outage_s: float = 0.0

    @property
    def _role(self) -> str:
        return self.target.namespace.removeprefix("/")

    async def wait_connected(self, connect_count: int = 1) -> None:
        """Wait until the connection is open and was opened at least so many times."""
        while self.connect_count < connect_count or not self.is_open:
            await self._next_connect.wait()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        failures = 0
        while True:
            before = self.connect_count
            try:
                await self._run_connection()
                self.counters.count("network_outages" if self._outage_s else "connections_closed")
            except ConnectionRefused as refusal:
                self.counters.count_error(self._role, "connect", refusal.code)
            except (aiohttp.ClientError, OSError, packets.InvalidPacket) as error:
                self._count_failure(error)
            failures = 0 if self.connect_count > before else failures + 1
            pause, self._outage_s = self._outage_s, 0.0
            await asyncio.sleep(pause or self._backoff_s(failures))

    async def send_event(self, name: str, payload: object) -> bool:
        """Send an event without an acknowledgement; False where there is no open connection."""
        socket = self._socket
        if socket is None or not self.is_open:
            return False
        try:
            await socket.send_str(packets.event_packet(self.target.namespace, name, payload))
        except (aiohttp.ClientError, OSError):
            # The receiving task sees the same error and reconnects.
            return False
        return True

    async def call(self, name: str, payload: object) -> dict[str, Any]:
        """Send a command once and return the data of its answer.

        Errors: CommandRefused; ConnectionLost where its outcome is unknown.
        """
        socket = self._socket
        if socket is None or not self.is_open:
            raise ConnectionLost(name)
        self._last_ack_id += 1
        ack_id = self._last_ack_id
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._pending_acks[ack_id] = future
        started_s = asyncio.get_running_loop().time()
        try:
            await socket.send_str(
                packets.event_packet(self.target.namespace, name, payload, ack_id)
            )
            async with asyncio.timeout(ACK_TIMEOUT_S):
                answer = await future
        except TimeoutError as error:
            self.counters.count_error(self._role, name, "no_answer")
            raise ConnectionLost(name) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLost(name) from error
        finally:
            self._pending_acks.pop(ack_id, None)
        self.counters.record_duration(
            "command_ack", (asyncio.get_running_loop().time() - started_s) * 1000
        )
        return _ack_data(name, answer)

    async def call_until_answered(self, name: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Send a command until it is answered; its `commandId` gives the repeats one effect.

        Errors: CommandRefused where a repeat would not help.
        """
        self._last_command_id += 1
        identified = {**payload, "commandId": self._command_id()}
        tries = 0
        while True:
            await self.wait_connected()
            try:
                return await self.call(name, identified)
            except ConnectionLost:
                self.counters.count("commands_repeated")
            except CommandRefused as refusal:
                if not refusal.retryable:
                    raise
                self.counters.count_error(self._role, name, refusal.code)
            tries += 1
            await asyncio.sleep(self._backoff_s(tries - 1))

    def simulate_outage(self, seconds: float) -> None:
        """Break the connection at once and stay disconnected for so long. Units: seconds."""
        if self._socket is not None:
            self._outage_s = seconds
            _abort_connection(self._socket)

    def _backoff_s(self, failures: int) -> float:
        pause_s = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(failures, 10))
        return pause_s * self.rng.uniform(1 - BACKOFF_SPREAD, 1 + BACKOFF_SPREAD)

    def _command_id(self) -> str:
        return f"cmd_{self.rng.getrandbits(64):016x}_{self._last_command_id}"

    async def _run_connection(self) -> None:
        socket = await self.target.session.ws_connect(
            f"{self.target.url}/socket.io/?EIO=4&transport=websocket",
            max_msg_size=FRAME_BYTES_MAX,
            timeout=CLOSE_TIMEOUT,
        )
        self._socket = socket
        try:
            silence_s = await self._join_namespace(socket)
            while True:
                packet = packets.parse_packet(await _receive_frame(socket, silence_s))
                if isinstance(packet, packets.Disconnected):
                    return
                await self._handle_packet(socket, packet)
        finally:
            self._mark_closed()
            await socket.close()

    async def _join_namespace(self, socket: aiohttp.ClientWebSocketResponse) -> float:
        greeting = packets.parse_packet(await _receive_frame(socket, CONNECT_TIMEOUT_S))
        if not isinstance(greeting, packets.Handshake):
            raise packets.InvalidPacket(str(greeting))
        auth: dict[str, Any] = {"token": self.target.token_source()}
        if self.epoch is not None:
            auth["resume"] = {"epoch": self.epoch, "seq": self.seq}
        await socket.send_str(packets.connect_packet(self.target.namespace, auth))
        while True:
            packet = packets.parse_packet(await _receive_frame(socket, CONNECT_TIMEOUT_S))
            if isinstance(packet, packets.ConnectRefused):
                raise ConnectionRefused(packet.code)
            if isinstance(packet, packets.Connected):
                break
            if isinstance(packet, packets.Disconnected):
                raise ConnectionRefused("closed")
            await self._handle_packet(socket, packet)
        self.connect_count += 1
        self.counters.count("connections_opened")
        self.is_open = True
        if self.epoch is None and self.connect_count > 1:
            # Without a position in its inbox the server cannot replay what was missed.
            self.on_event("resync", {})
        waiters, self._next_connect = self._next_connect, asyncio.Event()
        waiters.set()
        # Source: Engine.IO protocol 4, a client without a ping for this long closes.
        return greeting.ping_interval_s + greeting.ping_timeout_s

    async def _handle_packet(
        self, socket: aiohttp.ClientWebSocketResponse, packet: packets.Packet
    ) -> None:
        if isinstance(packet, packets.Heartbeat):
            await socket.send_str(packets.PONG)
        elif isinstance(packet, packets.AckPacket):
            future = self._pending_acks.get(packet.ack_id)
            if future is not None and not future.done():
                future.set_result(packet.payload)
        elif isinstance(packet, packets.EventPacket):
            if packet.ack_id is not None:
                receipt = packets.ack_packet(self.target.namespace, packet.ack_id, {"ok": True})
                await socket.send_str(receipt)
            if self._is_new(packet):
                self.on_event(packet.name, packet.payload)

    def _is_new(self, event: packets.EventPacket) -> bool:
        epoch, seq = event.payload.get("epoch"), event.payload.get("seq")
        if not isinstance(epoch, str) or not isinstance(seq, int):
            return True
        if event.name != "resync" and epoch == self.epoch:
            if seq <= self.seq:
                self.counters.count("events_duplicated")
                return False
            if seq > self.seq + 1:
                self.counters.count_error(self._role, "inbox", "gap")
        self.epoch, self.seq = epoch, seq
        return True

    def _mark_closed(self) -> None:
        self._socket = None
        self.is_open = False
        for future in self._pending_acks.values():
            if not future.done():
                future.set_exception(ConnectionLost("connection closed"))

    def _count_failure(self, error: Exception) -> None:
        if self._outage_s > 0:
            self.counters.count("network_outages")
        else:
            self.counters.count_error(self._role, "connection", type(error).__name__)


async def _receive_frame(socket: aiohttp.ClientWebSocketResponse, silence_s: float) -> str:
    message = await socket.receive(timeout=silence_s)
    if message.type is aiohttp.WSMsgType.TEXT:
        return message.data
    if message.type in {
        aiohttp.WSMsgType.CLOSE,
        aiohttp.WSMsgType.CLOSING,
        aiohttp.WSMsgType.CLOSED,
    }:
        return packets.CLOSE
    raise packets.InvalidPacket(message.type.name)


def _abort_connection(socket: aiohttp.ClientWebSocketResponse) -> None:
    # aiohttp only closes with a closing handshake, which a network outage does not send. A second
    # descriptor of the same connection can be shut down instead.
    original = socket.get_extra_info("socket")
    if original is None:
        return
    with contextlib.suppress(OSError), sockets.socket(fileno=os.dup(original.fileno())) as copy:
        copy.shutdown(sockets.SHUT_RDWR)


def _ack_data(name: str, answer: dict[str, Any]) -> dict[str, Any]:
    if answer.get("ok") is True:
        data = answer.get("data")
        return data if isinstance(data, dict) else {}
    error = answer.get("error")
    fields: dict[str, Any] = error if isinstance(error, dict) else {}
    code = str(fields.get("code", "no_code"))
    raise CommandRefused(name, code, retryable=fields.get("retryable") is True)
