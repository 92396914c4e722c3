"""Replay of a library day against the running server, at sixty times real speed.

`python -m bench.live --instances DIR --only NAME [--start 300 --end 720] [--declines 0.25]`: the
same orders, couriers and answers once through the running server over its public interface, with
positions, offers and commands, and once through the matching alone. A day of 14 hours takes 14
minutes; `--start` and `--end` cut a part out of it, in minutes. E is that of bench.matching; the
gap between both is what the server adds.
"""

import argparse
import asyncio
import re
import signal
import tempfile
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import uvloop

from bench.common.client import SocketClient
from bench.common.harness import RunningServer, run_limited, running_server
from bench.common.result_line import print_result
from bench.mdrp import instances
from bench.mdrp.answers import is_declined
from bench.mdrp.instances import (
    SERVICEABLE_MINUTES,
    WORST_MINUTES,
    Instance,
    fastest_delivery_minutes,
)
from bench.mdrp.replay import BUNDLE_MAX, ReplayOptions, replay_day
from bench.mdrp.replay_courier import (
    ReplayClock,
    ReplayContext,
    ReplayCourier,
    ReplayLog,
    to_degrees,
)
from bench.mdrp.run_audit import score_run
from city.client.tokens import UserType
from matching.batch import solve_batch

SPEEDUP = 60.0
# Minutes of delay per order that the server may add.
# Source: bench/README.md, "What the server costs it".
GAP_MAX_MINUTES = 0.5
# How long open orders are waited for after the last one was placed. Units: minutes of the day.
OPEN_ORDERS_MINUTES = 90.0
# Time before the first order. Units: minutes of the day.
LEAD_MINUTES = 2.0
CUSTOMERS, CONCURRENCY = 32, 16
PRICE_XAF, BALANCE_XAF = 5_000, 10_000_000
# Offer policy: a decision every half a minute of the day; a rider has three minutes to answer.
POLICY: dict[str, object] = {
    "mode": "batch", "batchEveryMs": 500, "windowMs": 3_000, "graceMs": 0, "receiptMs": 500,
    "silenceMs": 86_400_000, "refillMs": 1_000, "nearM": 10, "alertAfterMs": 86_400_000,
}  # fmt: skip
ADMIN: tuple[UserType, str] = ("ADMIN", "adm_1")


def slice_day(instance: Instance, start: int, end: int) -> Instance:
    """The part of a day: the orders placed in it, the couriers who work in it. Units: minutes."""
    return instance._replace(
        orders=[order for order in instance.orders if start <= order.placed < end],
        couriers=[
            courier._replace(on_time=max(courier.on_time, start))
            for courier in instance.couriers
            if courier.off_time > start and courier.on_time < end
        ],
    )


class ServerReplay:
    """A replay of one day on a running server."""

    def __init__(
        self, site: RunningServer, instance: Instance, options: argparse.Namespace
    ) -> None:
        self._site = site
        self._instance = instance
        self._options = options
        first = min(order.placed for order in instance.orders) - LEAD_MINUTES
        self._clock = ReplayClock(first, SPEEDUP)
        self.log = ReplayLog()
        self._shops: list[SocketClient] = []
        self._couriers: list[ReplayCourier] = []

    async def set_up(self) -> None:
        """Open the shops, fill the wallets, connect the couriers, then start the clock.

        Errors: BenchFailed.
        """
        await self._site.request("PUT", "/admin/config/offers/food", ADMIN, POLICY)
        count = len(self._instance.restaurants)
        self._shops = await run_limited(
            CONCURRENCY, [partial(self._open_shop, row) for row in range(count)]
        )
        top_ups = [partial(self._top_up, row) for row in range(CUSTOMERS)]
        await run_limited(CONCURRENCY, top_ups)
        couriers = range(len(self._instance.couriers))
        connects = [partial(self._connect_courier, row) for row in couriers]
        self._couriers = await run_limited(CONCURRENCY, connects)
        self._clock = self._restart_clock()

    def _restart_clock(self) -> ReplayClock:
        """Begin the day when all are connected."""
        clock = ReplayClock(self._clock.start_minute, SPEEDUP)
        for courier in self._couriers:
            courier.set_clock(clock)
        return clock

    async def _open_shop(self, row: int) -> SocketClient:
        identity: tuple[UserType, str] = ("VENDOR", f"ven_{row}")
        restaurant = self._instance.restaurants[row]
        lat, lng = to_degrees((restaurant.x, restaurant.y), SPEEDUP)
        location = {"lat": lat, "lng": lng, "address": restaurant.name}
        profile = {"name": identity[1], "location": location}
        await self._site.request("PUT", "/vendor/profile", identity, profile)
        dish = {"name": "Ndole", "price": PRICE_XAF}
        await self._site.request("PUT", "/vendor/items/ndole", identity, dish)
        socket = await self._site.connect(identity, _ignore_event)
        await socket.call("set_online", {"online": True})
        return socket

    async def _top_up(self, row: int) -> None:
        top_up = {"amount": BALANCE_XAF, "provider": "sandbox"}
        await self._site.request("POST", "/wallet/topup", ("USER", f"usr_{row}"), top_up)

    async def _connect_courier(self, row: int) -> ReplayCourier:
        share, seed = self._options.declines, self._options.seed
        declines = partial(is_declined, self._instance, share, seed)
        context = ReplayContext(self._instance, self.log, declines)
        courier = ReplayCourier(context, self._clock, row)
        courier.socket_client = await self._site.connect(("RIDER", f"rdr_{row}"), courier.on_event)
        return courier

    async def run(self) -> None:
        """Run the day until every order is delivered or OPEN_ORDERS_MINUTES after the last one."""
        shifts = [asyncio.create_task(courier.run_shift()) for courier in self._couriers]
        orders = [
            asyncio.create_task(self._run_order(row)) for row in range(len(self._instance.orders))
        ]
        end = max(order.placed for order in self._instance.orders) + OPEN_ORDERS_MINUTES
        try:
            await asyncio.gather(*orders)
            while len(self.log.delivered_at) < len(orders) and self._clock.now() < end:
                await self._clock.wait_until(self._clock.now() + 1)
        finally:
            for task in (*orders, *shifts):
                task.cancel()
            ended = await asyncio.gather(*shifts, *orders, return_exceptions=True)
            for socket in (*self._shops, *(courier.socket for courier in self._couriers)):
                socket.close()
        for each in ended:
            if isinstance(each, Exception):
                raise each

    async def _run_order(self, row: int) -> None:
        """Place an order, let the vendor accept it and mark it ready."""
        order = self._instance.orders[row]
        await self._clock.wait_until(order.placed)
        lat, lng = to_degrees((order.x, order.y), SPEEDUP)
        basket = {
            "orderType": "FOOD",
            "vendorId": f"ven_{order.place}",
            "items": [{"itemId": "ndole", "quantity": 1}],
            "deliveryAddress": {"lat": lat, "lng": lng, "address": order.name},
            "paymentMethod": "WALLET",
        }
        identity: tuple[UserType, str] = ("USER", f"usr_{row % CUSTOMERS}")
        placed = await self._site.request("POST", "/orders", identity, basket)
        self.log.row_by_order[placed["orderId"]] = row
        command: dict[str, Any] = {"orderId": placed["orderId"]}
        if self._options.prep == "known":
            command["prepMinutes"] = max(0, round(order.ready - self._clock.now()))
        shop = self._shops[order.place]
        await shop.call("accept_order", command)
        await self._clock.wait_until(order.ready)
        await shop.call("order_ready", {"orderId": placed["orderId"]})


def figures_of(instance: Instance, log: ReplayLog) -> dict[str, float]:
    """Score of the replayed day, by the rules of bench.mdrp.run_audit on the real times.

    Units: minutes.
    """
    delays: list[float] = []
    undelivered = 0
    for row, order in enumerate(instance.orders):
        fastest = fastest_delivery_minutes(instance, order)
        if fastest > SERVICEABLE_MINUTES:
            continue
        is_delivered = row in log.delivered_at
        duration = log.delivered_at[row] - order.placed if is_delivered else WORST_MINUTES
        undelivered += not is_delivered
        delays.append(min(duration, WORST_MINUTES) - fastest)
    return {
        "E_live": round(fmean(delays), 4),
        "orders": len(delays),
        "undelivered": undelivered,
        "asked": log.offered,
        "declined": log.declined,
    }


async def _decision_figures(site: RunningServer) -> dict[str, float]:
    """The number of decisions of the server, and their mean duration."""
    async with site.session.get(f"{site.url}/metrics") as response:
        text = await response.text()
    found = dict(re.findall(r"^reeyo_batch_seconds_(count|sum) (\S+)", text, re.MULTILINE))
    count, total = float(found["count"]), float(found["sum"])
    return {"decisions": count, "decision_mean_ms": round(1000 * total / max(1.0, count), 2)}


async def measure(instance: Instance, options: argparse.Namespace) -> dict[str, float]:
    """Run the day on a server of its own; its figures.

    Errors: BenchFailed.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with running_server(
            Path(folder), CITY_PACE=str(SPEEDUP), RIDER_ORDERS_MAX=str(BUNDLE_MAX)
        ) as site:
            replay = ServerReplay(site, instance, options)
            await replay.set_up()
            await replay.run()
            return {**figures_of(instance, replay.log), **await _decision_figures(site)}


def _ignore_event(name: str, payload: dict[str, Any], at_s: float) -> None:
    """A shop does nothing on events."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instances", type=Path, required=True, help="a folder of instances")
    parser.add_argument("--only", required=True, help="the instance")
    parser.add_argument("--start", type=int, default=0, help="orders placed from this minute on")
    parser.add_argument("--end", type=int, default=1_440, help="and before this; full size 1440")
    parser.add_argument("--declines", type=float, default=0.0, help="share of offers declined")
    parser.add_argument(
        "--prep",
        choices=("known", "none"),
        default="known",
        help="what vendors announce of ready times",
    )
    parser.add_argument("--seed", type=int, default=1, help="decides which offers are declined")
    return parser


def main() -> None:
    """Replay, compare and print; exit 1 where the server adds more than GAP_MAX_MINUTES."""
    options = _parser().parse_args()
    instance = slice_day(
        instances.read_instance(options.instances / options.only), options.start, options.end
    )
    # As Ctrl-C, so that the server and the engines are stopped too.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    replay_options = ReplayOptions(
        solve_batch, options.declines, options.prep == "none", options.seed
    )
    decided = score_run(instance, replay_day(instance, replay_options).trips)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(measure(instance, options))
    gap = figures["E_live"] - decided.E
    parameters: dict[str, object] = {
        "instance": instance.name, "start": options.start, "end": options.end, "pace": SPEEDUP,
        "declines": options.declines, "prep": options.prep, "seed": options.seed,
    }  # fmt: skip
    print_result(
        "live",
        parameters,
        {
            **figures,
            "E_decision": round(decided.E, 4),
            "gap": round(gap, 4),
            "goal_gap": GAP_MAX_MINUTES,
        },
    )
    raise SystemExit(gap > GAP_MAX_MINUTES)


if __name__ == "__main__":
    main()
