"""What the server costs the matching: a day replayed against it, sixty times as fast as life.

`python -m bench.live --instances DIR --only NAME [--start 300 --end 720] [--declines 0.25]`: the
same orders, couriers and answers once through the running server over its public interface, with
positions, offers and taps, and once through `matching.solve` alone. A day of 14 hours takes 14
minutes; `--start` and `--end` cut a piece out of it, in minutes. E is that of bench.matching.
"""

import argparse
import asyncio
import hashlib
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
from bench.mdrp.instances import (
    SERVICEABLE_MINUTES,
    WORST_MINUTES,
    Instance,
    fastest_delivery_minutes,
)
from bench.mdrp.replay import BUNDLE_MAX, ReplayOptions, replay_day
from bench.mdrp.replay_courier import ReplayClock, ReplayCourier, ReplayLog, to_degrees
from bench.mdrp.run_audit import score_run
from city.client.tokens import UserType
from matching.solve import solve

SPEEDUP = 60.0
# Minutes of delay per order that the server may add.
# Source: matching design, modes of the bench.
GAP_MAX_MINUTES = 0.5
# What is open when the piece ends is waited for. Units: minutes of the day.
PATIENCE_MINUTES = 90.0
# The first minute of the day, while everybody connects. Units: minutes.
LEAD_MINUTES = 2.0
CUSTOMERS, CONCURRENCY = 32, 16
PRICE_XAF, BALANCE_XAF = 5_000, 10_000_000
# How riders are asked: a decision every half a minute of the day; a rider has three minutes.
POLICY: dict[str, object] = {
    "mode": "batch", "batchEveryMs": 500, "windowMs": 3_000, "graceMs": 0, "receiptMs": 500,
    "silenceMs": 86_400_000, "refillMs": 1_000, "nearM": 10, "alertAfterMs": 86_400_000,
}  # fmt: skip
ADMIN: tuple[UserType, str] = ("ADMIN", "adm_1")


def slice_day(instance: Instance, start: int, end: int) -> Instance:
    """The orders that are placed within a piece of the day, and who works in it."""
    return instance._replace(
        orders=[order for order in instance.orders if start <= order.placed < end],
        couriers=[
            courier._replace(on_time=max(courier.on_time, start))
            for courier in instance.couriers
            if courier.off_time > start and courier.on_time < end
        ],
    )


def is_declined(instance: Instance, share: float, seed: int, courier: int, order: int) -> bool:
    """Whether a courier says no to an order; the same answer for the same seed and pair."""
    text = f"{seed} {instance.couriers[courier].name} {instance.orders[order].name}"
    dice = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
    return dice < share


class ServerReplay:
    """A replay on a running server."""

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
        """Open the shops, fill the purses, call the couriers."""
        await self._site.request("PUT", "/admin/config/offers/food", ADMIN, POLICY)
        count = len(self._instance.restaurants)
        self._shops = await run_limited(
            CONCURRENCY, [partial(self._open_shop, row) for row in range(count)]
        )
        purses = [partial(self._top_up, row) for row in range(CUSTOMERS)]
        await run_limited(CONCURRENCY, purses)
        calls = [partial(self._connect_courier, row) for row in range(len(self._instance.couriers))]
        self._couriers = await run_limited(CONCURRENCY, calls)
        self._clock = self._restart_clock()

    def _restart_clock(self) -> ReplayClock:
        """The day begins when everybody is there."""
        wall = ReplayClock(self._clock.start_minute, SPEEDUP)
        for courier in self._couriers:
            courier.set_clock(wall)
        return wall

    async def _open_shop(self, row: int) -> SocketClient:
        who: tuple[UserType, str] = ("VENDOR", f"ven_{row}")
        restaurant = self._instance.restaurants[row]
        lat, lng = to_degrees((restaurant.x, restaurant.y), SPEEDUP)
        place = {"lat": lat, "lng": lng, "address": restaurant.name}
        await self._site.request("PUT", "/vendor/profile", who, {"name": who[1], "location": place})
        dish = {"name": "Ndole", "price": PRICE_XAF}
        await self._site.request("PUT", "/vendor/items/ndole", who, dish)
        phone = await self._site.connect(who, _ignore_event)
        await phone.call("set_online", {"online": True})
        return phone

    async def _top_up(self, row: int) -> None:
        purse = {"amount": BALANCE_XAF, "provider": "sandbox"}
        await self._site.request("POST", "/wallet/topup", ("USER", f"usr_{row}"), purse)

    async def _connect_courier(self, row: int) -> ReplayCourier:
        share, seed = self._options.declines, self._options.seed
        no = partial(is_declined, self._instance, share, seed)
        courier = ReplayCourier((self._instance, self._clock, self.log), row, no)
        courier.socket_client = await self._site.connect(("RIDER", f"rdr_{row}"), courier.on_event)
        return courier

    async def run(self) -> None:
        """Live through it; what has not arrived long after the last order never will."""
        shifts = [asyncio.create_task(courier.run_shift()) for courier in self._couriers]
        orders = [
            asyncio.create_task(self._run_order(row)) for row in range(len(self._instance.orders))
        ]
        end = max(order.placed for order in self._instance.orders) + PATIENCE_MINUTES
        try:
            await asyncio.gather(*orders)
            while len(self.log.delivered_at) < len(orders) and self._clock.now() < end:
                await self._clock.wait_until(self._clock.now() + 1)
        finally:
            for task in (*orders, *shifts):
                task.cancel()
            ended = await asyncio.gather(*shifts, *orders, return_exceptions=True)
            for phone in (*self._shops, *(courier.socket for courier in self._couriers)):
                phone.close()
        for each in ended:
            if isinstance(each, Exception):
                raise each

    async def _run_order(self, row: int) -> None:
        """A customer orders, the kitchen takes it and calls it ready."""
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
        who: tuple[UserType, str] = ("USER", f"usr_{row % CUSTOMERS}")
        placed = await self._site.request("POST", "/orders", who, basket)
        self.log.row_by_order[placed["orderId"]] = row
        said: dict[str, Any] = {"orderId": placed["orderId"]}
        if self._options.prep == "known":
            said["prepMinutes"] = max(0, round(order.ready - self._clock.now()))
        shop = self._shops[order.place]
        await shop.call("accept_order", said)
        await self._clock.wait_until(order.ready)
        await shop.call("order_ready", {"orderId": placed["orderId"]})


def figures_of(instance: Instance, log: ReplayLog) -> dict[str, float]:
    """What the replayed day is worth, by the rules of bench.mdrp.run_audit on the real times."""
    over: list[float] = []
    missing = 0
    for row, order in enumerate(instance.orders):
        floor = fastest_delivery_minutes(instance, order)
        if floor > SERVICEABLE_MINUTES:
            continue
        took = log.delivered_at[row] - order.placed if row in log.delivered_at else WORST_MINUTES
        missing += row not in log.delivered_at
        over.append(min(took, WORST_MINUTES) - floor)
    return {
        "E_live": round(fmean(over), 4),
        "orders": len(over),
        "undelivered": missing,
        "asked": log.offered,
        "declined": log.declined,
    }


async def _decision_figures(site: RunningServer) -> dict[str, float]:
    """How many decisions the server has made, and how long they took."""
    async with site.session.get(f"{site.url}/metrics") as answer:
        text = await answer.text()
    found = dict(re.findall(r"^reeyo_batch_seconds_(count|sum) (\S+)", text, re.MULTILINE))
    count, total = float(found["count"]), float(found["sum"])
    return {"decisions": count, "decision_mean_ms": round(1000 * total / max(1.0, count), 2)}


async def measure(instance: Instance, options: argparse.Namespace) -> dict[str, float]:
    """The day on a server of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with running_server(
            Path(folder), CITY_PACE=str(SPEEDUP), RIDER_ORDERS_MAX=str(BUNDLE_MAX)
        ) as site:
            day = ServerReplay(site, instance, options)
            await day.set_up()
            await day.run()
            return {**figures_of(instance, day.log), **await _decision_figures(site)}


def _ignore_event(name: str, payload: dict[str, Any], at_s: float) -> None:
    """A shop hears of riders, and does its work."""


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
        "--prep", choices=("known", "none"), default="known", help="what vendors say of ready times"
    )
    parser.add_argument("--seed", type=int, default=1, help="who declines what")
    return parser


def main() -> None:
    """Replay, compare, print; 1 where the server costs more than it may."""
    options = _parser().parse_args()
    instance = slice_day(
        instances.read_instance(options.instances / options.only), options.start, options.end
    )
    # Whoever ends the bench ends its server and its engines.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    choice = ReplayOptions(
        partial(solve, policy="batch"), options.declines, options.prep == "none", options.seed
    )
    decided = score_run(instance, replay_day(instance, choice).trips)
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
