"""Clients that retry until they are answered, and record what they were acknowledged and sent.

tests.e2e.invariants checks the record.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import aiohttp
import orjson

from bench.common.harness import NAMESPACES
from city.client.socket_client import CommandRefused, ConnectionLost, ConnectionTarget, SocketClient
from city.client.tokens import TokenSigner, UserType
from city.model.counters import Counters

# Shorter than the official client's, so that a run of minutes has as many reconnects as a day.
BACKOFF_S = (0.05, 0.4)
REQUEST_S = 8.0
# Source: RFC 9110; sent by a balancer or server that cannot answer now.
RETRY_STATUSES = frozenset({429, 502, 503, 504})
# Share of answered commands that are sent again; the first answer must come again.
REPEAT_SHARE = 0.1
# Reads return the current state, so their repeats may differ.
READ_COMMANDS = frozenset({"subscribe_order"})
# A rider polls the order after waiting this long for an event, which normally takes a second.
MISSED_EVENT_S = 45.0
FIX_EVERY_S, TICK_S = 3.0, 0.1
PAGE_SIZE = 100


class Ack(NamedTuple):
    """One answered command; `code` is empty if it was accepted.

    Units: seconds of the monotonic clock.
    """

    identity: str
    command: str
    payload: dict[str, Any]
    data: dict[str, Any]
    code: str
    sent_s: float
    answered_s: float

    @property
    def order_id(self) -> str:
        """The order that the command was about."""
        return str(self.payload.get("orderId") or self.data.get("orderId", ""))


class ReceivedEvent(NamedTuple):
    """One event that a client received. Units: Unix milliseconds, the client's clock."""

    identity: str
    name: str
    payload: dict[str, Any]
    at_ms: int


@dataclass(slots=True)
class SwarmRecord:
    """Everything that the clients were acknowledged and sent."""

    acks: list[Ack] = field(default_factory=list)
    events: list[ReceivedEvent] = field(default_factory=list)
    # Commands whose repeat got a different answer.
    unequal_answers: list[str] = field(default_factory=list)
    repeat_count: int = 0
    # Changes that a client found only by polling, without a resync.
    missed_events: list[str] = field(default_factory=list)
    counters: Counters = field(default_factory=Counters)
    position_count: int = 0


@dataclass(slots=True)
class ServerAccess:
    """The servers that a load balancer would consider up, and the means to call them."""

    urls: Callable[[], Sequence[str]]
    session: aiohttp.ClientSession
    token_signer: TokenSigner


class RoamingSocketClient(SocketClient):
    """Socket client that reconnects to another server, sooner than the official client."""

    def __init__(self, client: "RetryingClient", rng: random.Random) -> None:
        super().__init__(client.choose_target(), client.on_event, client.record.counters, rng)
        self._client = client

    async def _run_connection(self) -> None:
        self.target = self._client.choose_target()
        await super()._run_connection()

    def _backoff_s(self, failures: int) -> float:
        del failures
        return self.rng.uniform(*BACKOFF_S)


class RetryingClient:
    """One user's client: retries until it is answered, and records what it receives."""

    user_type: UserType

    def __init__(
        self, user_id: str, servers: ServerAccess, record: SwarmRecord, rng: random.Random
    ) -> None:
        self.user_id = user_id
        self.identity = f"{NAMESPACES[self.user_type].removeprefix('/')}:{user_id}"
        self.servers = servers
        self.record = record
        self.rng = rng
        self._token = servers.token_signer.sign(self.user_type, user_id)
        self.tasks = asyncio.TaskGroup()
        self.is_online = asyncio.Event()
        self.resyncs = 0
        self._command_count = 0
        self.socket = RoamingSocketClient(self, random.Random(rng.random()))

    def choose_target(self) -> ConnectionTarget:
        """A server to connect to, chosen at random each time."""
        url = self.rng.choice(self.servers.urls())
        return ConnectionTarget(
            self.servers.session, url, NAMESPACES[self.user_type], lambda: self._token
        )

    def on_event(self, name: str, payload: dict[str, Any]) -> None:
        """Record one event and handle it; the socket client filters repeats."""
        if name == "rider_location_update":
            self.record.position_count += 1
            return
        self.record.events.append(
            ReceivedEvent(self.identity, name, payload, int(time.time() * 1000))
        )
        if name == "resync":
            self.resyncs += 1
            self.tasks.create_task(self.fetch_snapshots())
        else:
            self.handle_event(name, payload)

    def handle_event(self, name: str, payload: dict[str, Any]) -> None:
        """React to an event."""

    async def fetch_snapshots(self) -> None:
        """Fetch fresh snapshots after a resync."""

    async def send_command(self, command: str, **fields: object) -> dict[str, Any]:
        """Send a command until it is answered, over any server; some are sent again.

        Errors: CommandRefused.
        """
        self._command_count += 1
        payload = {**fields, "commandId": f"{self.user_id}-{self._command_count}"}
        answer = await self._send_until_answered(command, payload)
        if command not in READ_COMMANDS and self.rng.random() < REPEAT_SHARE:
            self.record.repeat_count += 1
            repeated = await self._send_until_answered(command, payload)
            if repeated != answer:
                self.record.unequal_answers.append(
                    f"{self.identity} {command}: {answer} then {repeated}"
                )
        return answer

    async def _send_until_answered(self, command: str, payload: dict[str, Any]) -> dict[str, Any]:
        sent_s = time.perf_counter()
        record = partial(self._record_ack, command, payload, sent_s)
        while True:
            await self.socket.wait_connected()
            try:
                data = await self.socket.call(command, payload)
            except ConnectionLost:
                self.record.counters.count("commands_repeated")
            except CommandRefused as refusal:
                if not refusal.retryable:
                    record({}, refusal.code)
                    raise
                self.record.counters.count(f"refused_{refusal.code}")
            else:
                record(data, "")
                return data
            await asyncio.sleep(self.rng.uniform(*BACKOFF_S))

    def _record_ack(
        self, command: str, payload: dict[str, Any], sent_s: float, data: dict[str, Any], code: str
    ) -> None:
        answered_s = time.perf_counter()
        self.record.acks.append(
            Ack(self.identity, command, payload, data, code, sent_s, answered_s)
        )

    async def request(self, method: str, path: str, body: object = None, key: str = "") -> Any:
        """Send an HTTP request until it is answered; `key` makes repeats idempotent.

        Errors: CommandRefused.
        """
        headers = {"Authorization": f"Bearer {self._token}"}
        if key:
            headers["Idempotency-Key"] = key
        content = None if body is None else orjson.dumps(body)
        while True:
            status, raw = await self._request_once(method, path, headers, content)
            if status in (200, 201):
                return orjson.loads(raw)["data"]
            if status and status not in RETRY_STATUSES:
                code = str(orjson.loads(raw)["error"]["code"])
                raise CommandRefused(f"{method} {path}", code, retryable=False)
            self.record.counters.count(f"http_retried_{status}")
            await asyncio.sleep(self.rng.uniform(*BACKOFF_S))

    async def _request_once(
        self, method: str, path: str, headers: dict[str, str], content: bytes | None
    ) -> tuple[int, bytes]:
        url = f"{self.rng.choice(self.servers.urls())}/api/v1{path}"
        try:
            async with self.servers.session.request(
                method, url, data=content, headers=headers,
                timeout=aiohttp.ClientTimeout(total=REQUEST_S),
            ) as answer:  # fmt: skip
                return answer.status, await answer.read()
        except (aiohttp.ClientError, OSError):
            return 0, b""

    async def run(self) -> None:
        """Keep the connection open and run the user's tasks, until cancelled."""
        async with self.tasks:
            self.tasks.create_task(self.socket.run())
            await self.socket.wait_connected()
            await self.go_online()
            self.is_online.set()

    async def go_online(self) -> None:
        """First action after connecting."""

    async def pause(self, max_s: float = 0.3) -> None:
        """Wait a random time, as a person would."""
        await asyncio.sleep(self.rng.uniform(0, max_s))
