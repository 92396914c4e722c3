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

from city.actors.admin import Admin, TrialBalance, make_admin
from city.actors.population import Population, PopulationSize
from city.client.http_client import ApiRefused
from city.client.tokens import TokenSigner, make_token_signer
from city.demo import server_process
from city.demo.counters import Counters
from city.demo.report import StatusLine, Summary
from city.demo.server_process import ServerProcess
from city.model.city import City
from city.model.clock import MachineClock
from city.model.streets import build_streets

STATUS_EVERY_S = 3.0
# Source: the demo's promise, everything ends within 5 s of Ctrl-C.
STOP_BUDGET_S = 4.8
TRIAL_BALANCE_TIMEOUT_S = 3.0
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


class InvalidOptions(Exception):
    """The demo cannot start like this."""


class StopRequested(Exception):
    """Somebody asked to stop before the city was up."""


def run(options: DemoOptions) -> int:
    """Run the demo to its end; the exit code is 0 only if the ledger balances."""
    if options.url is not None and not os.environ.get("JWT_SECRET"):
        raise InvalidOptions("a server that runs already needs its JWT_SECRET in the environment")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Demo(options, os.environ).run())


@dataclass(slots=True)
class Demo:
    """One run of the demo."""

    options: DemoOptions
    environ: Mapping[str, str]
    counters: Counters = field(default_factory=Counters)
    clock: MachineClock = field(default_factory=MachineClock)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    server: ServerProcess | None = None
    failure: str | None = None
    stop_requested_s: float = 0.0

    async def run(self) -> int:
        """Run to the end; the exit code."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, self._on_signal)
        office = make_token_signer(self.environ, self.clock.now_ms)
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
        try:
            async with aiohttp.ClientSession(connector=connector) as session:
                return await self._run_on_server(session, office)
        except StopRequested:
            self._print_progress("stopped before the city was up")
            return INTERRUPTED
        finally:
            if self.server is not None:
                await self.server.stop()

    async def _run_on_server(self, session: aiohttp.ClientSession, signer: TokenSigner) -> int:
        url = self.options.url
        try:
            if url is None:
                self._print_progress("starting the server ...")
                self.server = await server_process.start_server(
                    self.environ, self.options.port, signer.secret
                )
                url = self.server.url
                await self._run_unless_stopped(
                    self.server.wait_ready(session, self._print_progress)
                )
            else:
                await server_process.check_ready(session, url)
        except server_process.ServerDown as down:
            click.echo(str(down), err=True)
            return 1
        world = City(
            session=session,
            url=url.rstrip("/"),
            signer=signer,
            clock=self.clock,
            streets=build_streets(),
            counters=self.counters,
            seed=self.options.seed,
            time_scale=self.options.time_scale,
        )
        return await self._run_city(world)

    async def _run_city(self, city: City) -> int:
        options, admin = self.options, make_admin(city)
        size = PopulationSize(
            options.riders, options.vendors, options.customers, options.orders_per_minute
        )
        crowd = Population(city, size)
        try:
            await self._run_unless_stopped(admin.open_services())
        except ApiRefused as refusal:
            self.counters.count_error("admin", refusal.route, refusal.code)
        self._print_progress(
            f"{size.riders} riders, {size.vendors} vendors, {size.customers} customers; "
            f"{size.orders_per_minute:.0f} orders a minute; the map: {city.url}/console/"
        )
        self._print_progress("stop with Ctrl-C")
        started_s = self.clock.monotonic_s()
        living = asyncio.create_task(crowd.run())
        await self._report_until_stopped(living, started_s)
        elapsed_s = self.clock.monotonic_s() - started_s
        self.stop_requested_s = self.stop_requested_s or self.clock.monotonic_s()
        self._print_progress("stopping ...")
        living.cancel()
        await asyncio.wait({living})
        books = await self._read_trial_balance(admin)
        left_s = STOP_BUDGET_S - (self.clock.monotonic_s() - self.stop_requested_s)
        has_stopped_well = self.server is None or await self.server.stop(max(left_s, 0.5))
        closing = Summary(
            counters=self.counters,
            elapsed_s=elapsed_s,
            stopped_s=self.clock.monotonic_s() - self.stop_requested_s,
            trial_balance=books,
            has_server_stopped_well=has_stopped_well,
            failure=self.failure,
            crashes=crowd.crashes,
        )
        click.echo(orjson.dumps(closing.as_json()).decode() if options.is_json else closing.text())
        return 0 if closing.is_good else 1

    async def _report_until_stopped(self, city_task: asyncio.Task[None], started_s: float) -> None:
        """Tell how it goes until it is to stop, or something ends that should not."""
        pulse = StatusLine(self.counters, started_s)
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
                self._print_progress(pulse.render(self.clock.monotonic_s(), started_s))
            if city_task.done():
                self.failure = f"the city ended by itself: {city_task.exception()!r}"
                return
            if self.server is not None and self.server.has_ended:
                self.failure = "the server ended by itself"
                click.echo(self.server.log_tail(), err=True)
                return

    async def _read_trial_balance(self, admin: Admin) -> TrialBalance | None:
        try:
            async with asyncio.timeout(TRIAL_BALANCE_TIMEOUT_S):
                return await admin.read_trial_balance()
        except TimeoutError:
            self.counters.count_error("admin", "trial_balance", "timeout")
        except ApiRefused as refusal:
            self.counters.count_error("admin", refusal.route, refusal.code)
        return None

    async def _run_unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        stop = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise StopRequested
            task.result()
        finally:
            task.cancel()
            stop.cancel()

    def _on_signal(self) -> None:
        if not self.stopping.is_set():
            self.stop_requested_s = self.clock.monotonic_s()
            self.stopping.set()
            return
        # Asked twice: at once, without the books; the server's engines die with the server.
        if self.server is not None and not self.server.has_ended:
            self.server.process.kill()
        os._exit(INTERRUPTED)

    def _print_progress(self, text: str) -> None:
        # Progress leaves stdout to the JSON of a machine that asked for it.
        click.echo(text, err=self.options.is_json)
