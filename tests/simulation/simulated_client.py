"""Simulated client: one WebSocket and HTTP, by the public contract, on a faulty network."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import aiohttp
import jwt
import orjson

from city.client import packets
from tests.simulation.event_log import EventLog
from tests.simulation.fault_schedule import FaultSchedule
from tests.virtual_time import START_MS

SECRET = "a secret of the simulation, 32 bytes or more"
# How long a client waits for an answer before it sends again.
ANSWER_TIMEOUT_S = 5.0
# Source: the Socket.IO client's defaults, shortened so that runs do not consist of waiting.
BACKOFF_S, BACKOFF_S_MAX = 0.5, 3.0
# Source: Engine.IO protocol 4, a client without a ping for both intervals closes.
PING_TIMEOUT_S = 20.0
_NAMESPACE = {"USER": "user", "VENDOR": "vendor", "RIDER": "rider", "ADMIN": "ops"}


class Refused(Exception):
    """The server refused the command or request."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class _NoAnswer(Exception):
    """No answer came; whether the request was executed is unknown."""


class ServerPool:
    """HTTP connection pools to every server, over the simulated network."""

    def __init__(self, node_names: list[str]) -> None:
        self.node_names = node_names
        self._sessions = {name: self._open_session(name) for name in node_names}

    def session(self, name: str) -> aiohttp.ClientSession:
        """The pool of one server."""
        return self._sessions[name]

    async def close(self) -> None:
        """Close all pools."""
        for session in self._sessions.values():
            await session.close()

    def _open_session(self, name: str) -> aiohttp.ClientSession:
        connector = aiohttp.UnixConnector(path=name, limit=0)
        return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))


class SimulatedClient:
    """One user's app. `on_event` gets each event once; `on_resync` says that some were missed."""

    def __init__(
        self,
        user_type: str,
        user_id: str,
        servers: ServerPool,
        event_log: EventLog,
        faults: FaultSchedule,
    ) -> None:
        self.namespace = f"/{_NAMESPACE[user_type]}"
        # A second phone of the same user is another actor.
        user_id, _, device = user_id.partition("/")
        self.actor = f"{device or _NAMESPACE[user_type]}:{user_id}"
        self.rng = random.Random(f"{faults.seed}/{self.actor}")
        self.on_event: Callable[[str, dict[str, Any]], None] = _ignore_event
        self.on_open: Callable[[], None] = _do_nothing
        self.on_resync: Callable[[], None] = _do_nothing
        self.is_offline = False
        self._servers = servers
        self._event_log = event_log
        self._faults = faults
        now_s = START_MS // 1000
        claims = {"userId": user_id, "userType": user_type, "iat": now_s, "exp": now_s + 86_400}
        self._token = jwt.encode(claims, SECRET, algorithm="HS256")
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._joined = asyncio.Event()
        self._pending_answers: dict[int, asyncio.Future[Any]] = {}
        self._ack_id = 0
        # Command ids by acknowledgement number.
        self._command_ids: dict[int, str] = {}
        self._request_count = 0
        self._connection_number = 0
        self._resume: dict[str, Any] | None = None
        self._send_tasks: set[asyncio.Task[None]] = set()

    @property
    def has_resume_point(self) -> bool:
        """Whether it can ask for the events that it missed; else it must fetch what there is."""
        return self._resume is not None

    # Connection

    async def run(self) -> None:
        """Stay connected to some server until cancelled."""
        failures = 0
        while True:
            if self.is_offline:
                await asyncio.sleep(0.5)
                continue
            connections_before = self._connection_number
            try:
                await self._hold_connection(self.rng.choice(self._servers.node_names))
            except (aiohttp.ClientError, OSError, packets.InvalidPacket):
                # The next attempt may choose another server.
                pass
            finally:
                self._on_disconnect()
            failures = 0 if self._connection_number > connections_before else failures + 1
            pause_s = min(BACKOFF_S_MAX, BACKOFF_S * 2**failures)
            await asyncio.sleep(self.rng.uniform(0.5, 1) * pause_s)

    def drop_connection(self) -> None:
        """Reset the connection."""
        if (
            self._socket is not None
            and (transport := self._socket.get_extra_info("transport")) is not None
        ):
            transport.reset()

    def emit(self, name: str, payload: Any) -> None:
        """Send an event without acknowledgement, if connected."""
        if self._joined.is_set():
            self._send_with_faults(packets.event_packet(self.namespace, name, payload))

    async def send_command(self, name: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Send a command, under one command id, until it is answered. Errors: Refused."""
        self._request_count += 1
        command_id = f"c{self._request_count}"
        self._event_log.record(
            self.actor, "command_sent", command=name, id=command_id, payload=payload
        )
        while True:
            await self._joined.wait()
            try:
                answer = await self._send_once(name, {**payload, "commandId": command_id})
            except _NoAnswer:
                await asyncio.sleep(self.rng.uniform(0.1, 0.5))
                continue
            if answer["ok"]:
                self._event_log.record(
                    self.actor, "command_answered", command=name, id=command_id, data=answer
                )
                return answer["data"] or {}
            if answer["error"]["retryable"]:
                await asyncio.sleep(self.rng.uniform(0.3, 1.0))
                continue
            code = answer["error"]["code"]
            self._event_log.record(
                self.actor, "command_refused", command=name, id=command_id, code=code
            )
            raise Refused(code)

    async def _send_once(self, name: str, payload: dict[str, Any]) -> dict[str, Any]:
        self._ack_id += 1
        ack_id = self._ack_id
        self._command_ids[ack_id] = payload["commandId"]
        future = self._pending_answers[ack_id] = asyncio.get_running_loop().create_future()
        self._send_with_faults(packets.event_packet(self.namespace, name, payload, ack_id))
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await future
        except TimeoutError as error:
            raise _NoAnswer from error
        finally:
            self._pending_answers.pop(ack_id, None)

    async def _hold_connection(self, name: str) -> None:
        session = self._servers.session(name)
        async with asyncio.timeout(ANSWER_TIMEOUT_S) as timeout:
            url = f"http://{name}/socket.io/?EIO=4&transport=websocket"
            async with session.ws_connect(url, max_msg_size=1 << 20) as socket:
                self._socket = socket
                await self._join(socket, name)
                timeout.reschedule(None)
                await self._read_packets(socket)

    async def _join(self, socket: aiohttp.ClientWebSocketResponse, name: str) -> None:
        auth: dict[str, Any] = {"token": self._token}
        if self._resume is not None:
            auth["resume"] = dict(self._resume)
        while True:
            packet = packets.parse_packet(await _read_frame(socket))
            if isinstance(packet, packets.Handshake):
                await socket.send_str(packets.connect_packet(self.namespace, auth))
            elif isinstance(packet, packets.Connected):
                break
            elif isinstance(packet, packets.Disconnected | packets.ConnectRefused):
                raise packets.InvalidPacket(str(packet))
        self._connection_number += 1
        resume = auth.get("resume")
        self._event_log.record(
            self.actor, "connected", connection=self._connection_number, node=name, resume=resume
        )
        self._joined.set()
        self.on_open()

    async def _read_packets(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            packet = packets.parse_packet(await _read_frame(socket))
            if isinstance(packet, packets.Heartbeat):
                await socket.send_str(packets.PONG)
                self._record_sent()
            elif isinstance(packet, packets.Disconnected):
                return
            elif isinstance(packet, packets.AckPacket):
                self._on_answer(packet)
            elif isinstance(packet, packets.EventPacket):
                self._on_event_packet(packet)

    def _on_answer(self, packet: packets.AckPacket) -> None:
        if self._faults.drops_answer():
            return
        self._event_log.record(
            self.actor,
            "answer_received",
            id=self._command_ids.get(packet.ack_id),
            answer=packet.payload,
        )
        future = self._pending_answers.get(packet.ack_id)
        if future is not None and not future.done():
            future.set_result(packet.payload)

    def _on_event_packet(self, packet: packets.EventPacket) -> None:
        self._event_log.record(
            self.actor,
            "event_received",
            connection=self._connection_number,
            event=packet.name,
            payload=packet.payload,
        )
        if packet.ack_id is not None:
            self._send_with_faults(packets.ack_packet(self.namespace, packet.ack_id, {"ok": True}))
        epoch, seq = packet.payload.get("epoch"), packet.payload.get("seq")
        if packet.name == "resync":
            self._resume = {"epoch": epoch, "seq": seq}
            self.on_resync()
            return
        if isinstance(seq, int):
            known = self._resume
            if known is not None and known["epoch"] == epoch and seq <= known["seq"]:
                return
            self._resume = {"epoch": epoch, "seq": seq}
        self.on_event(packet.name, packet.payload)

    def _send_with_faults(self, packet: str) -> None:
        """Send a packet over the faulty network, which may lose, repeat or delay it."""
        for delay_s in self._faults.copy_delays_s():
            task = asyncio.get_running_loop().create_task(self._send_delayed(packet, delay_s))
            self._send_tasks.add(task)
            task.add_done_callback(self._send_tasks.discard)

    async def _send_delayed(self, packet: str, delay_s: float) -> None:
        socket = self._socket
        if delay_s:
            await asyncio.sleep(delay_s)
        if socket is None or socket.closed:
            return
        try:
            await socket.send_str(packet)
        except (aiohttp.ClientError, OSError):
            # The reader of the socket gets the error as well.
            return
        self._record_sent()

    def _record_sent(self) -> None:
        """Record that a rider's app has sent something."""
        if self.namespace == "/rider":
            self._event_log.record(self.actor, "packet_sent")

    def _on_disconnect(self) -> None:
        if self._joined.is_set():
            self._event_log.record(self.actor, "disconnected", connection=self._connection_number)
        self._socket = None
        self._joined.clear()
        for future in self._pending_answers.values():
            if not future.done():
                future.set_exception(_NoAnswer())

    # HTTP

    async def get(self, path: str) -> Any:
        """Send a GET request. Errors: Refused."""
        return await self._http("GET", path, None)

    async def put(self, path: str, body: dict[str, Any]) -> Any:
        """Send a PUT request. Errors: Refused."""
        return await self._http("PUT", path, body)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send a POST request with an idempotency key. Errors: Refused."""
        return await self._http("POST", path, body)

    async def _http(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        self._request_count += 1
        key = f"k{self._request_count}"
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        if method == "POST":
            headers["Idempotency-Key"] = key
        self._event_log.record(
            self.actor, "request_sent", method=method, path=path, id=key, body=body
        )
        while True:
            status, envelope = await self._request(method, path, headers, body)
            if status in range(200, 300):
                data = envelope["data"]
                self._event_log.record(
                    self.actor,
                    "request_answered",
                    method=method,
                    path=path,
                    id=key,
                    status=status,
                    data=data,
                )
                return data
            code = envelope.get("error", {}).get("code", "none")
            if status in {0, 429, 502} or (status == 503 and code != "service_disabled"):
                await asyncio.sleep(self.rng.uniform(0.2, 1.0))
                continue
            self._event_log.record(
                self.actor, "request_refused", method=method, path=path, id=key, code=code
            )
            raise Refused(code)

    async def _request(
        self, method: str, path: str, headers: dict[str, str], body: dict[str, Any] | None
    ) -> tuple[int, dict[str, Any]]:
        name = self.rng.choice(self._servers.node_names)
        content = None if body is None else orjson.dumps(body)
        answers = [
            self._request_once(name, method, path, headers, content)
            for _ in self._faults.copy_delays_s()
        ]
        if not answers:
            await asyncio.sleep(ANSWER_TIMEOUT_S)
            return 0, {}
        return (await asyncio.gather(*answers))[0]

    async def _request_once(
        self, name: str, method: str, path: str, headers: dict[str, str], content: bytes | None
    ) -> tuple[int, dict[str, Any]]:
        url = f"http://{name}/api/v1{path}"
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                session = self._servers.session(name)
                async with session.request(method, url, data=content, headers=headers) as response:
                    status, envelope = response.status, orjson.loads(await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError):
            return 0, {}
        if method == "POST":
            key = headers["Idempotency-Key"]
            answer = {"ok": status < 300, **envelope}
            self._event_log.record(self.actor, "answer_received", id=key, answer=answer)
        return status, envelope


async def _read_frame(socket: aiohttp.ClientWebSocketResponse) -> str:
    message = await socket.receive(timeout=PING_TIMEOUT_S)
    if message.type is aiohttp.WSMsgType.TEXT:
        return message.data
    return packets.CLOSE


def _ignore_event(_name: str, _payload: dict[str, Any]) -> None:
    """Default event callback."""


def _do_nothing() -> None:
    """Default callback."""
