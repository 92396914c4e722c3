"""Customers, vendors and riders who insist, whichever servers die, and the record of what they saw.

Whatever they were acknowledged and told is written down here; tests.e2e.invariants judges it.
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
from city.client.socket_client import CommandRefused, Dial, Line, LineDown
from city.client.tokens import BadgeOffice, UserType
from city.demo.counters import Tally

# Quicker than the official client, so that a run of minutes holds as many returns as a day.
BACKOFF_S = (0.05, 0.4)
REQUEST_S = 8.0
# Source: RFC 9110, what a balancer or a server says that cannot answer now.
AGAIN = frozenset({429, 502, 503, 504})
# Some commands are said again though they were answered: the first answer must come again.
REPEATS = 0.1
# What only looks answers with what there is to see now.
READS = frozenset({"subscribe_order"})
# So long a rider waits for news of the goods before he looks for himself; news come in a second.
MISSED_S = 45.0
FIX_EVERY_S, TICK_S = 3.0, 0.1
PAGE = 100


class Ack(NamedTuple):
    """One command that was answered; `code` is empty where the answer was yes.

    Units: seconds of the steady clock.
    """

    who: str
    command: str
    payload: dict[str, Any]
    data: dict[str, Any]
    code: str
    asked_s: float
    told_s: float

    @property
    def order_id(self) -> str:
        """The order it was about."""
        return str(self.payload.get("orderId") or self.data.get("orderId", ""))


class Heard(NamedTuple):
    """One event that an app has shown. Units: Unix milliseconds, the app's clock."""

    who: str
    name: str
    body: dict[str, Any]
    at_ms: int


@dataclass(slots=True)
class Record:
    """Everything that the swarm was acknowledged and told."""

    acks: list[Ack] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    # Commands whose repeat was answered otherwise than the command itself.
    unequal: list[str] = field(default_factory=list)
    repeats: int = 0
    # News that an app found only by looking, though nobody had told it to resync.
    missed: list[str] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    positions: int = 0


@dataclass(slots=True)
class Doors:
    """Where apps come in: the servers that a balancer would believe to be up."""

    urls: Callable[[], Sequence[str]]
    session: aiohttp.ClientSession
    office: BadgeOffice


class RoamingLine(Line):
    """Comes back at another server, and sooner than the official client does."""

    def __init__(self, app: "App", rng: random.Random) -> None:
        super().__init__(app.dial(), app.heard, app.record.tally, rng)
        self._app = app

    async def _hold(self) -> None:
        self.dial = self._app.dial()
        await super()._hold()

    def _backoff_s(self, failures: int) -> float:
        del failures
        return self.rng.uniform(*BACKOFF_S)


class App:
    """One person's app: insists until it is answered, and writes down what it was told."""

    audience: UserType

    def __init__(self, name: str, doors: Doors, record: Record, rng: random.Random) -> None:
        self.name = name
        self.who = f"{NAMESPACES[self.audience].removeprefix('/')}:{name}"
        self.doors = doors
        self.record = record
        self.rng = rng
        self._badge = doors.office.sign(self.audience, name)
        self.tasks = asyncio.TaskGroup()
        self.is_here = asyncio.Event()
        self.resyncs = 0
        self._commands = 0
        self.line = RoamingLine(self, random.Random(rng.random()))

    def dial(self) -> Dial:
        """A server to call, another one each time."""
        url = self.rng.choice(self.doors.urls())
        return Dial(self.doors.session, url, NAMESPACES[self.audience], lambda: self._badge)

    def heard(self, name: str, body: dict[str, Any]) -> None:
        """One event; each durable one once."""
        if name == "rider_location_update":
            self.record.positions += 1
            return
        self.record.heard.append(Heard(self.who, name, body, int(time.time() * 1000)))
        if name == "resync":
            self.resyncs += 1
            self.tasks.create_task(self.rebuild())
        else:
            self.react(name, body)

    def react(self, name: str, body: dict[str, Any]) -> None:
        """What the person does about an event."""

    async def rebuild(self) -> None:
        """Take fresh snapshots."""

    async def say(self, command: str, **facts: object) -> dict[str, Any]:
        """Say a command until it is answered, over whichever server; some say it again.

        Errors: CommandRefused.
        """
        self._commands += 1
        payload = {**facts, "commandId": f"{self.name}-{self._commands}"}
        answer = await self._insist(command, payload)
        if command not in READS and self.rng.random() < REPEATS:
            self.record.repeats += 1
            again = await self._insist(command, payload)
            if again != answer:
                self.record.unequal.append(f"{self.who} {command}: {answer} then {again}")
        return answer

    async def _insist(self, command: str, payload: dict[str, Any]) -> dict[str, Any]:
        asked_s = time.perf_counter()
        note = partial(self._note, command, payload, asked_s)
        while True:
            await self.line.opened()
            try:
                data = await self.line.call(command, payload)
            except LineDown:
                self.record.tally.count("commands_repeated")
            except CommandRefused as refusal:
                if not refusal.retryable:
                    note({}, refusal.code)
                    raise
                self.record.tally.count(f"said_{refusal.code}")
            else:
                note(data, "")
                return data
            await asyncio.sleep(self.rng.uniform(*BACKOFF_S))

    def _note(
        self, command: str, payload: dict[str, Any], asked_s: float, data: dict[str, Any], code: str
    ) -> None:
        told_s = time.perf_counter()
        self.record.acks.append(Ack(self.who, command, payload, data, code, asked_s, told_s))

    async def ask(self, method: str, path: str, body: object = None, key: str = "") -> Any:
        """Ask over HTTP until it is answered; a `key` gives the repeats one effect.

        Errors: CommandRefused.
        """
        headers = {"Authorization": f"Bearer {self._badge}"}
        if key:
            headers["Idempotency-Key"] = key
        content = None if body is None else orjson.dumps(body)
        while True:
            status, raw = await self._once(method, path, headers, content)
            if status in (200, 201):
                return orjson.loads(raw)["data"]
            if status and status not in AGAIN:
                code = str(orjson.loads(raw)["error"]["code"])
                raise CommandRefused(f"{method} {path}", code, retryable=False)
            self.record.tally.count(f"http_again_{status}")
            await asyncio.sleep(self.rng.uniform(*BACKOFF_S))

    async def _once(
        self, method: str, path: str, headers: dict[str, str], content: bytes | None
    ) -> tuple[int, bytes]:
        url = f"{self.rng.choice(self.doors.urls())}/api/v1{path}"
        try:
            async with self.doors.session.request(
                method, url, data=content, headers=headers,
                timeout=aiohttp.ClientTimeout(total=REQUEST_S),
            ) as answer:  # fmt: skip
                return answer.status, await answer.read()
        except (aiohttp.ClientError, OSError):
            return 0, b""

    async def live(self) -> None:
        """Keep the line and do what there is to do, until cancelled."""
        async with self.tasks:
            self.tasks.create_task(self.line.run())
            await self.line.opened()
            await self.arrive()
            self.is_here.set()

    async def arrive(self) -> None:
        """What the person does first."""

    async def pause(self, at_most_s: float = 0.3) -> None:
        """The time that a person takes."""
        await asyncio.sleep(self.rng.uniform(0, at_most_s))
