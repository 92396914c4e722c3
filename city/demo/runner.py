"""The demo: runs a server and a city on it until Ctrl-C, then checks the ledger."""

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
from city.actors.city import City
from city.actors.population import Population, PopulationSize
from city.client.http_client import ApiRefused
from city.client.tokens import NoSecret, make_token_signer
from city.demo import server_process
from city.demo.report import StatusLine, Summary
from city.demo.server_process import ServerProcess
from city.model.clock import MachineClock
from city.model.counters import Counters
from city.model.streets import build_streets

STATUS_EVERY_S = 3.0
# Source: README.md, the demo ends within 5 s of Ctrl-C.
STOP_BUDGET_S = 4.8
TRIAL_BALANCE_TIMEOUT_S = 3.0
# Connections of the HTTP and WebSocket client; requests beyond these wait.
CONNECTIONS_MAX = 4000
# Source: the shell's code for a process ended by SIGINT, 128 + 2.
INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Options of the demo. Units: `duration_s` in seconds, None is until Ctrl-C."""

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
    """The demo cannot start with these options."""


class StopRequested(Exception):
    """A stop was requested before the city was running."""


def run(options: DemoOptions) -> int:
    """Run the demo to its end; the exit code, 0 only if the ledger balances.

    Errors: InvalidOptions.
    """
    if options.url is not None:
        try:
            make_token_signer(os.environ, MachineClock().now_ms)
        except NoSecret as error:
            raise InvalidOptions(str(error)) from error
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
        """Run the demo to its end; the exit code."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, self._on_signal)
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
        try:
            async with aiohttp.ClientSession(connector=connector) as session:
                return await self._run_on_server(session)
        except StopRequested:
            self._print_progress("stopped before the city was running")
            return INTERRUPTED
        finally:
            if self.server is not None:
                await self.server.stop()

    async def _run_on_server(self, session: aiohttp.ClientSession) -> int:
        url = self.options.url
        try:
            if url is None:
                self._print_progress("starting the server ...")
                self.server = await server_process.start_server(
                    self.environ, self.options.port, secret=None
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
        city = City(
            session=session,
            url=url.rstrip("/"),
            signer=make_token_signer(self.environ, self.clock.now_ms),
            clock=self.clock,
            streets=build_streets(),
            counters=self.counters,
            seed=self.options.seed,
            time_scale=self.options.time_scale,
        )
        return await self._run_city(city)

    async def _run_city(self, city: City) -> int:
        options, admin = self.options, make_admin(city)
        size = PopulationSize(
            options.riders, options.vendors, options.customers, options.orders_per_minute
        )
        population = Population(city, size)
        try:
            await self._run_unless_stopped(admin.open_services())
        except ApiRefused as refusal:
            self.counters.count_error("admin", refusal.route, refusal.code)
        self._print_progress(
            f"{size.riders} riders, {size.vendors} vendors, {size.customers} customers; "
            f"{size.orders_per_minute:.0f} orders a minute; operators' console: {city.url}/console/"
        )
        self._print_progress("stop with Ctrl-C")
        started_s = self.clock.monotonic_s()
        running = asyncio.create_task(population.run())
        await self._report_until_stopped(running, started_s)
        elapsed_s = self.clock.monotonic_s() - started_s
        self.stop_requested_s = self.stop_requested_s or self.clock.monotonic_s()
        self._print_progress("stopping ...")
        running.cancel()
        await asyncio.wait({running})
        trial_balance = await self._read_trial_balance(admin)
        left_s = STOP_BUDGET_S - (self.clock.monotonic_s() - self.stop_requested_s)
        has_stopped_cleanly = self.server is None or await self.server.stop(max(left_s, 0.5))
        summary = Summary(
            counters=self.counters,
            elapsed_s=elapsed_s,
            stopped_s=self.clock.monotonic_s() - self.stop_requested_s,
            trial_balance=trial_balance,
            has_server_stopped_cleanly=has_stopped_cleanly,
            failure=self.failure,
            crashes=population.crashes,
        )
        click.echo(orjson.dumps(summary.as_json()).decode() if options.is_json else summary.text())
        return 0 if summary.is_good else 1

    async def _report_until_stopped(self, city_task: asyncio.Task[None], started_s: float) -> None:
        """Print status lines until a stop is requested, or the city or the server ends."""
        status = StatusLine(self.counters, started_s)
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
                self._print_progress(status.render(self.clock.monotonic_s(), started_s))
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
        # The second signal ends the demo at once, without checking the ledger.
        if self.server is not None and not self.server.has_ended:
            self.server.process.kill()
        os._exit(INTERRUPTED)

    def _print_progress(self, text: str) -> None:
        # With --json stdout is for the JSON line alone.
        click.echo(text, err=self.options.is_json)
