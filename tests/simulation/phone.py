"""A client's phone: the public contract over one WebSocket and HTTP, on a network that fails."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import aiohttp
import jwt
import orjson

from city.client import packets
from tests.simulation.event_log import Diary
from tests.simulation.faults import Weather
from tests.virtual_time import START_MS

SECRET = "a secret of the simulation, 32 bytes or more"
# How long a phone waits for an answer before it asks again.
ANSWER_S = 5.0
# Source: the defaults of the Socket.IO client, made shorter so that stories are not about waiting.
BACKOFF_S, BACKOFF_S_MAX = 0.5, 3.0
# Source: Engine.IO protocol 4, a client that hears no ping for both intervals closes.
SILENCE_S = 20.0
_NAMESPACE = {"USER": "user", "VENDOR": "vendor", "RIDER": "rider", "ADMIN": "ops"}


class Refused(Exception):
    """The server understood, and said no."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class _NoAnswer(Exception):
    """Nothing is known of what was asked."""


class Exchange:
    """Where phones find the servers: one pool of connections to each, over the town's network."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self._sessions = {name: self._session(name) for name in names}

    def session(self, name: str) -> aiohttp.ClientSession:
        """The way to one server."""
        return self._sessions[name]

    async def close(self) -> None:
        """Hang everything up."""
        for session in self._sessions.values():
            await session.close()

    def _session(self, name: str) -> aiohttp.ClientSession:
        connector = aiohttp.UnixConnector(path=name, limit=0)
        return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))


class Phone:
    """One person's app. `on_event` hears each event once; `on_lost` says that some were missed."""

    def __init__(
        self, kind: str, owner: str, exchange: Exchange, diary: Diary, weather: Weather
    ) -> None:
        self.namespace = f"/{_NAMESPACE[kind]}"
        self.who = f"{_NAMESPACE[kind]}:{owner}"
        self.chance = random.Random(f"{weather.seed}/{self.who}")
        self.on_event: Callable[[str, dict[str, Any]], None] = _ignore
        self.on_open: Callable[[], None] = _nothing
        self.on_lost: Callable[[], None] = _nothing
        self.is_off = False
        self._exchange = exchange
        self._diary = diary
        self._weather = weather
        now_s = START_MS // 1000
        claims = {"userId": owner, "userType": kind, "iat": now_s, "exp": now_s + 86_400}
        self._token = jwt.encode(claims, SECRET, algorithm="HS256")
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._opened = asyncio.Event()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._ack_id = 0
        # By the number of an acknowledgement, the name of the command that it answers.
        self._asked: dict[int, str] = {}
        self._names = 0
        self._line = 0
        self._resume: dict[str, Any] | None = None
        self._loose: set[asyncio.Task[None]] = set()

    # The line.

    async def run(self) -> None:
        """Keep a line to some server, for ever."""
        failures = 0
        while True:
            if self.is_off:
                await asyncio.sleep(0.5)
                continue
            lines = self._line
            try:
                await self._hold(self.chance.choice(self._exchange.names))
            except (aiohttp.ClientError, OSError, packets.NotAPacket):
                # The next try may find another server.
                pass
            finally:
                self._hang_up()
            failures = 0 if self._line > lines else failures + 1
            pause_s = min(BACKOFF_S_MAX, BACKOFF_S * 2**failures)
            await asyncio.sleep(self.chance.uniform(0.5, 1) * pause_s)

    def cut(self) -> None:
        """Lose the connection."""
        if self._socket is not None and (end := self._socket.get_extra_info("end")) is not None:
            end.break_off()

    def say(self, name: str, payload: Any) -> None:
        """Say something that wants no answer, if there is a line."""
        if self._opened.is_set():
            self._send(packets.event(self.namespace, name, payload))

    async def insist(self, name: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Say a command under a name of its own until it is answered. Errors: Refused."""
        self._names += 1
        command_id = f"c{self._names}"
        self._diary.note(self.who, "says", command=name, id=command_id, payload=payload)
        while True:
            await self._opened.wait()
            try:
                answer = await self._ask(name, {**payload, "commandId": command_id})
            except _NoAnswer:
                await asyncio.sleep(self.chance.uniform(0.1, 0.5))
                continue
            if answer["ok"]:
                self._diary.note(self.who, "answered", command=name, id=command_id, data=answer)
                return answer["data"] or {}
            if answer["error"]["retryable"]:
                await asyncio.sleep(self.chance.uniform(0.3, 1.0))
                continue
            code = answer["error"]["code"]
            self._diary.note(self.who, "refused", command=name, id=command_id, code=code)
            raise Refused(code)

    async def _ask(self, name: str, payload: dict[str, Any]) -> dict[str, Any]:
        self._ack_id += 1
        ack_id = self._ack_id
        self._asked[ack_id] = payload["commandId"]
        future = self._answers[ack_id] = asyncio.get_running_loop().create_future()
        self._send(packets.event(self.namespace, name, payload, ack_id))
        try:
            async with asyncio.timeout(ANSWER_S):
                return await future
        except TimeoutError as error:
            raise _NoAnswer from error
        finally:
            self._answers.pop(ack_id, None)

    async def _hold(self, name: str) -> None:
        session = self._exchange.session(name)
        async with asyncio.timeout(ANSWER_S) as patience:
            url = f"http://{name}/socket.io/?EIO=4&transport=websocket"
            async with session.ws_connect(url, max_msg_size=1 << 20) as socket:
                self._socket = socket
                await self._enter(socket, name)
                patience.reschedule(None)
                await self._listen(socket)

    async def _enter(self, socket: aiohttp.ClientWebSocketResponse, name: str) -> None:
        auth: dict[str, Any] = {"token": self._token}
        if self._resume is not None:
            auth["resume"] = dict(self._resume)
        while True:
            packet = packets.read(await _frame(socket))
            if isinstance(packet, packets.Opened):
                await socket.send_str(packets.connect(self.namespace, auth))
            elif isinstance(packet, packets.Connected):
                break
            elif isinstance(packet, packets.Left | packets.ConnectRefused):
                raise packets.NotAPacket(str(packet))
        self._line += 1
        resume = auth.get("resume")
        self._diary.note(self.who, "opens", line=self._line, node=name, resume=resume)
        self._opened.set()
        self.on_open()

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            packet = packets.read(await _frame(socket))
            if isinstance(packet, packets.Pinged):
                await socket.send_str(packets.PONG)
            elif isinstance(packet, packets.Left):
                return
            elif isinstance(packet, packets.Answered):
                self._take_answer(packet)
            elif isinstance(packet, packets.Said):
                self._hear(packet)

    def _take_answer(self, packet: packets.Answered) -> None:
        if self._weather.drops():
            return
        self._diary.note(self.who, "acked", id=self._asked.get(packet.ack_id), answer=packet.answer)
        future = self._answers.get(packet.ack_id)
        if future is not None and not future.done():
            future.set_result(packet.answer)

    def _hear(self, said: packets.Said) -> None:
        self._diary.note(self.who, "hears", line=self._line, event=said.name, payload=said.payload)
        if said.ack_id is not None:
            self._send(packets.answer(self.namespace, said.ack_id, {"ok": True}))
        epoch, seq = said.payload.get("epoch"), said.payload.get("seq")
        if said.name == "resync":
            self._resume = {"epoch": epoch, "seq": seq}
            self.on_lost()
            return
        if isinstance(seq, int):
            known = self._resume
            if known is not None and known["epoch"] == epoch and seq <= known["seq"]:
                return
            self._resume = {"epoch": epoch, "seq": seq}
        self.on_event(said.name, said.payload)

    def _send(self, text: str) -> None:
        """Give a packet to the network, which may lose it, repeat it, or keep it for a while."""
        for late_s in self._weather.copies():
            task = asyncio.get_running_loop().create_task(self._carry(text, late_s))
            self._loose.add(task)
            task.add_done_callback(self._loose.discard)

    async def _carry(self, text: str, late_s: float) -> None:
        socket = self._socket
        if late_s:
            await asyncio.sleep(late_s)
        if socket is None or socket.closed:
            return
        try:
            await socket.send_str(text)
        except (aiohttp.ClientError, OSError):
            # Who listens learns of it too.
            return

    def _hang_up(self) -> None:
        if self._opened.is_set():
            self._diary.note(self.who, "closed", line=self._line)
        self._socket = None
        self._opened.clear()
        for future in self._answers.values():
            if not future.done():
                future.set_exception(_NoAnswer())

    # HTTP.

    async def get(self, path: str) -> Any:
        """Read something. Errors: Refused."""
        return await self._http("GET", path, None)

    async def put(self, path: str, body: dict[str, Any]) -> Any:
        """Set something. Errors: Refused."""
        return await self._http("PUT", path, body)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Do something once. Errors: Refused."""
        return await self._http("POST", path, body)

    async def _http(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        self._names += 1
        key = f"k{self._names}"
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        if method == "POST":
            headers["Idempotency-Key"] = key
        self._diary.note(self.who, "asks", method=method, path=path, id=key, body=body)
        while True:
            status, envelope = await self._request(method, path, headers, body)
            if status in range(200, 300):
                data = envelope["data"]
                self._diary.note(
                    self.who, "told", method=method, path=path, id=key, status=status, data=data
                )
                return data
            code = envelope.get("error", {}).get("code", "none")
            if status in {0, 429, 502} or (status == 503 and code != "service_disabled"):
                await asyncio.sleep(self.chance.uniform(0.2, 1.0))
                continue
            self._diary.note(self.who, "denied", method=method, path=path, id=key, code=code)
            raise Refused(code)

    async def _request(
        self, method: str, path: str, headers: dict[str, str], body: dict[str, Any] | None
    ) -> tuple[int, dict[str, Any]]:
        name = self.chance.choice(self._exchange.names)
        content = None if body is None else orjson.dumps(body)
        answers = [self._once(name, method, path, headers, content) for _ in self._weather.copies()]
        if not answers:
            await asyncio.sleep(ANSWER_S)
            return 0, {}
        return (await asyncio.gather(*answers))[0]

    async def _once(
        self, name: str, method: str, path: str, headers: dict[str, str], content: bytes | None
    ) -> tuple[int, dict[str, Any]]:
        url = f"http://{name}/api/v1{path}"
        try:
            async with asyncio.timeout(ANSWER_S):
                session = self._exchange.session(name)
                async with session.request(method, url, data=content, headers=headers) as response:
                    status, envelope = response.status, orjson.loads(await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError):
            return 0, {}
        if method == "POST":
            key = headers["Idempotency-Key"]
            answer = {"ok": status < 300, **envelope}
            self._diary.note(self.who, "acked", id=key, answer=answer)
        return status, envelope


async def _frame(socket: aiohttp.ClientWebSocketResponse) -> str:
    message = await socket.receive(timeout=SILENCE_S)
    if message.type is aiohttp.WSMsgType.TEXT:
        return message.data
    return packets.CLOSE


def _ignore(_name: str, _payload: dict[str, Any]) -> None:
    """Before anybody listens."""


def _nothing() -> None:
    """Before anybody listens."""
