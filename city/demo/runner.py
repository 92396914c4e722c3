"""The demo: a server and a city on it, until Ctrl-C; then the books."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import click
import orjson
import uvloop

from city.actors.admin import Admin, Books, hire
from city.actors.population import Crowd, Size
from city.client.http_client import ApiRefused
from city.client.tokens import BadgeOffice, open_office
from city.demo import server_process
from city.demo.counters import Tally
from city.demo.report import Closing, Pulse
from city.demo.server_process import Server
from city.model.city import World
from city.model.clock import MachineClock
from city.model.streets import lay_streets

STATUS_EVERY_S = 3.0
# Source: the demo's promise, everything ends within 5 s of Ctrl-C.
STOP_BUDGET_S = 4.8
BOOKS_TIMEOUT_S = 3.0
# Sockets that connect at once; HTTP calls beyond these wait for a connection.
CONNECTIONS_MAX = 4000
INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What one may choose about the demo. Units: `duration_s` in seconds, None without end."""

    riders: int = 120
    vendors: int = 25
    customers: int = 200
    orders_per_minute: float = 42.0
    seed: int = 1
    duration_s: float | None = None
    port: int = 8080
    # Use the server at this address instead of starting one; needs its JWT_SECRET.
    url: str | None = None
    time_scale: float = 3.0
    is_json: bool = False


class BadOptions(Exception):
    """The demo cannot start like this."""


class Stopped(Exception):
    """Somebody asked to stop before the city was up."""


def run(options: DemoOptions) -> int:
    """Run the demo to its end; the exit code is 0 only if the ledger balances."""
    if options.url is not None and not os.environ.get("JWT_SECRET"):
        raise BadOptions("a server that runs already needs its JWT_SECRET in the environment")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Demo(options, os.environ).run())


@dataclass(slots=True)
class Demo:
    """One run of the demo."""

    options: DemoOptions
    environ: Mapping[str, str]
    tally: Tally = field(default_factory=Tally)
    clock: MachineClock = field(default_factory=MachineClock)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    server: Server | None = None
    trouble: str | None = None
    stop_asked_s: float = 0.0

    async def run(self) -> int:
        """Run to the end; the exit code."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, self._on_signal)
        office = open_office(self.environ, self.clock.now_ms)
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
        try:
            async with aiohttp.ClientSession(connector=connector) as session:
                return await self._on_server(session, office)
        except Stopped:
            self._tell("stopped before the city was up")
            return INTERRUPTED
        finally:
            if self.server is not None:
                await self.server.stop()

    async def _on_server(self, session: aiohttp.ClientSession, office: BadgeOffice) -> int:
        url = self.options.url
        try:
            if url is None:
                self._tell("starting the server ...")
                self.server = await server_process.start(
                    self.environ, self.options.port, office.secret
                )
                url = self.server.url
                await self._or_stop(self.server.ready(session, self._tell))
            else:
                await server_process.check(session, url)
        except server_process.ServerDown as down:
            click.echo(str(down), err=True)
            return 1
        world = World(
            session=session,
            url=url.rstrip("/"),
            office=office,
            clock=self.clock,
            streets=lay_streets(),
            tally=self.tally,
            seed=self.options.seed,
            time_scale=self.options.time_scale,
        )
        return await self._live(world)

    async def _live(self, world: World) -> int:
        options, admin = self.options, hire(world)
        size = Size(options.riders, options.vendors, options.customers, options.orders_per_minute)
        crowd = Crowd(world, size)
        try:
            await self._or_stop(admin.open_services())
        except ApiRefused as refusal:
            self.tally.error("admin", refusal.route, refusal.code)
        self._tell(
            f"{size.riders} riders, {size.vendors} vendors, {size.customers} customers; "
            f"{size.orders_per_minute:.0f} orders a minute; the map: {world.url}/console/"
        )
        self._tell("stop with Ctrl-C")
        started_s = self.clock.monotonic_s()
        living = asyncio.create_task(crowd.run())
        await self._watch(living, started_s)
        elapsed_s = self.clock.monotonic_s() - started_s
        self.stop_asked_s = self.stop_asked_s or self.clock.monotonic_s()
        self._tell("stopping ...")
        living.cancel()
        await asyncio.wait({living})
        books = await self._read_books(admin)
        left_s = STOP_BUDGET_S - (self.clock.monotonic_s() - self.stop_asked_s)
        has_stopped_well = self.server is None or await self.server.stop(max(left_s, 0.5))
        closing = Closing(
            tally=self.tally,
            elapsed_s=elapsed_s,
            stopped_s=self.clock.monotonic_s() - self.stop_asked_s,
            books=books,
            has_server_stopped_well=has_stopped_well,
            trouble=self.trouble,
            falls=crowd.falls,
        )
        click.echo(orjson.dumps(closing.facts()).decode() if options.is_json else closing.text())
        return 0 if closing.is_good else 1

    async def _watch(self, living: asyncio.Task[None], started_s: float) -> None:
        """Tell how it goes until it is to stop, or something ends that should not."""
        pulse = Pulse(self.tally, started_s)
        ends_s = None if self.options.duration_s is None else started_s + self.options.duration_s
        while not self.stopping.is_set():
            now_s = self.clock.monotonic_s()
            pause_s = STATUS_EVERY_S if ends_s is None else min(STATUS_EVERY_S, ends_s - now_s)
            if pause_s <= 0:
                return
            try:
                async with asyncio.timeout(pause_s):
                    await self.stopping.wait()
            except TimeoutError:
                if pause_s < STATUS_EVERY_S:
                    return
                self._tell(pulse.line(self.clock.monotonic_s(), started_s))
            if living.done():
                self.trouble = f"the city ended by itself: {living.exception()!r}"
                return
            if self.server is not None and self.server.has_ended:
                self.trouble = "the server ended by itself"
                click.echo(self.server.tail(), err=True)
                return

    async def _read_books(self, admin: Admin) -> Books | None:
        try:
            async with asyncio.timeout(BOOKS_TIMEOUT_S):
                return await admin.read_books()
        except TimeoutError:
            self.tally.error("admin", "trial_balance", "timeout")
        except ApiRefused as refusal:
            self.tally.error("admin", refusal.route, refusal.code)
        return None

    async def _or_stop(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        stop = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Stopped
            task.result()
        finally:
            task.cancel()
            stop.cancel()

    def _on_signal(self) -> None:
        if not self.stopping.is_set():
            self.stop_asked_s = self.clock.monotonic_s()
            self.stopping.set()
            return
        # Asked twice: at once, without the books; the server's engines die with the server.
        if self.server is not None and not self.server.has_ended:
            self.server.process.kill()
        os._exit(INTERRUPTED)

    def _tell(self, text: str) -> None:
        # Progress leaves stdout to the JSON of a machine that asked for it.
        click.echo(text, err=self.options.is_json)
