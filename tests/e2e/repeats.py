"""Idempotency test: copies of a command on three nodes. `python -m tests.e2e.repeats --copies 50`.

Every kind of command is sent in many copies at once; they must have one effect and equal answers.
Prints one JSON line. Full size: --copies 50 --rounds 5.
"""

import argparse
import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.common.client import CommandRefused, SocketClient, connect
from bench.common.harness import NAMESPACES, BenchFailed, RunningServer, run_limited
from bench.common.result_line import print_result
from bench.common.scenario import LAT, LNG
from city.client.tokens import UserType
from tests.e2e.fleet import Fleet, cancel, fleet
from tests.e2e.listeners import wait_for
from tests.e2e.progress import report_progress

NODES = ("all", "all", "all")
# Source: handlers/sessions/session_registry.py closes the oldest socket beyond this number.
CLIENTS_MAX = 5
CONCURRENT_CONNECTS = 16
PRICE_XAF = 5_000
TOPUP_XAF = 200_000
# Source: docs/contract.md, FOOD: 15 % of the subtotal to the platform, a delivery fee of 1500.
SUBTOTAL_XAF, VENDOR_XAF, FEE_XAF = 10_000, 8_500, 1_500
REPORT_EVERY_S = 4.0
EVENT_TIMEOUT_S = 10.0
UserRef = tuple[UserType, str]


class Size(NamedTuple):
    """Size of a run: copies of each command, and rounds."""

    copies: int
    rounds: int


class MultiClientUser:
    """One user with several connected clients, which send all copies of a command at once."""

    def __init__(self, user: UserRef, sites: Sequence[RunningServer]) -> None:
        self.user = user
        self.sites = sites
        self.copies = 0
        self.clients: list[SocketClient] = []
        # Events that the first client received: (event, order) and how often.
        self.event_counts: Counter[tuple[str, str]] = Counter()
        self.offers: dict[str, str] = {}

    async def connect(self, copies: int) -> None:
        """Connect one client per copy, up to the number of sockets that an identity may have."""
        self.copies = copies
        client_count = min(copies, CLIENTS_MAX)
        connects = [partial(self._connect_one, number) for number in range(client_count)]
        self.clients = await run_limited(CONCURRENT_CONNECTS, connects)

    async def _connect_one(self, number: int) -> SocketClient:
        site = self.sites[number % len(self.sites)]
        on_event = self._on_event if number == 0 else _ignore_event
        token = site.signer.sign(*self.user)
        return await connect(site.url, NAMESPACES[self.user[0]], token, on_event)

    def _on_event(self, name: str, body: dict[str, Any], _at_s: float) -> None:
        order_id = body.get("orderId", "")
        self.event_counts[name, order_id] += 1
        if name == "delivery_request":
            self.offers[order_id] = body["offerId"]

    async def send_copies(self, command: str, payload: dict[str, Any]) -> list[str]:
        """Send a command in all copies, spread over the clients; the answers as JSON text."""
        clients = islice(cycle(self.clients), self.copies)
        return await asyncio.gather(*(_send_one(client, command, payload) for client in clients))

    async def post_copies(self, path: str, key: str, body: object) -> list[str]:
        """Send a request in all copies under one idempotency key; the answers as JSON text."""
        sites = islice(cycle(self.sites), self.copies)
        return await asyncio.gather(*(self._post(site, path, key, body) for site in sites))

    async def _post(self, site: RunningServer, path: str, key: str, body: object) -> str:
        token = site.signer.sign(*self.user)
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
        return _to_json(await site.send_request("POST", path, headers, body))

    async def read_balance(self) -> int:
        """Available balance of the user's wallet."""
        return (await self.sites[0].request("GET", "/wallet/balance", self.user))[
            "availableBalance"
        ]

    def close(self) -> None:
        """Disconnect all clients."""
        for client in self.clients:
            client.close()


def _ignore_event(_name: str, _body: dict[str, Any], _at_s: float) -> None:
    """Event callback of the clients whose events are not checked."""


def _to_json(data: object) -> str:
    return json.dumps(data, sort_keys=True)


async def _send_one(client: SocketClient, name: str, command: dict[str, Any]) -> str:
    try:
        return _to_json(await client.call(name, command))
    except CommandRefused as refusal:
        return f"refused: {refusal.code}"


class Run:
    """A few orders from start to end, each step sent in copies."""

    def __init__(self, running: Fleet, size: Size) -> None:
        sites = [node.site for node in running.nodes]
        self.site, self.size = sites[0], size
        self.user = MultiClientUser(("USER", "usr_0"), sites)
        self.vendor = MultiClientUser(("VENDOR", "ven_0"), sites)
        self.riders = [MultiClientUser(("RIDER", f"rdr_{number}"), sites) for number in range(3)]
        self.answers: Counter[str] = Counter()
        self.violations: list[str] = []
        self._fix_count = 0
        self._key_count = 0

    async def prepare(self) -> None:
        """Open the shop; place the riders at growing distances, which orders their offers."""
        location = {"lat": LAT, "lng": LNG, "address": "Akwa"}
        profile = {"name": "Chez Wou", "location": location}
        await self.site.request("PUT", "/vendor/profile", self.vendor.user, profile)
        dish = {"name": "Ndole", "price": PRICE_XAF}
        await self.site.request("PUT", "/vendor/items/ndole", self.vendor.user, dish)
        # A rider who gave an order back can be offered the next round's at once.
        policy = {"silenceMs": 0, "refillMs": 1_000, "retryMs": [500]}
        await self.site.request("PUT", "/admin/config/offers/food", ("ADMIN", "adm_1"), policy)
        for user in (self.user, self.vendor, *self.riders):
            await user.connect(self.size.copies)
        await self.vendor.clients[0].call("set_online", {"online": True})

    async def set_on_duty(self, rider: MultiClientUser, *, available: bool) -> None:
        """Set a rider's availability; only available riders get offers."""
        await rider.clients[0].call("set_availability", {"available": available})
        self.report_positions()

    def report_positions(self) -> None:
        """Every rider reports its position."""
        self._fix_count += 1
        for number, rider in enumerate(self.riders):
            fix = {"lat": LAT + 0.001 * (number + 1), "lng": LNG, "seq": self._fix_count}
            packet = f'42/rider,["location_update",{json.dumps(fix)}]'
            rider.clients[0].send(packet.encode())

    async def keep_reporting(self) -> None:
        """Riders report their positions until cancelled."""
        while True:
            self.report_positions()
            await asyncio.sleep(REPORT_EVERY_S)

    # Commands in copies, and checks of their effect.

    def _next_key(self) -> str:
        self._key_count += 1
        return f"key_{self._key_count}"

    def _check_answers(self, kind: str, answers: Sequence[str]) -> dict[str, Any]:
        """Check that all answers are equal and none is a refusal; the answer."""
        self.answers[kind] += len(answers)
        distinct = set(answers)
        if len(distinct) != 1 or answers[0].startswith("refused"):
            self.violations.append(f"{kind}: {sorted(distinct)[:3]}")
        granted = [answer for answer in answers if not answer.startswith("refused")]
        return json.loads(granted[0]) if granted else {}

    async def _expect_event_once(
        self, kind: str, user: MultiClientUser, name: str, order_id: str
    ) -> None:
        """Check that a user receives an event exactly once."""
        await wait_for(lambda: user.event_counts[name, order_id] > 0, EVENT_TIMEOUT_S)
        if user.event_counts[name, order_id] != 1:
            self.violations.append(
                f"{kind}: {name} was received {user.event_counts[name, order_id]} times"
            )

    async def _expect_balance(self, kind: str, user: MultiClientUser, amount: int) -> None:
        """Check a wallet's balance."""
        balance = await user.read_balance()
        if balance != amount:
            self.violations.append(f"{kind}: {user.user[1]} has {balance}, not {amount}")

    async def send_command(
        self, user: MultiClientUser, name: str, order_id: str, **fields: object
    ) -> None:
        """Send a command about an order in copies."""
        command = {"orderId": order_id, "commandId": self._next_key(), **fields}
        self._check_answers(name, await user.send_copies(name, command))

    async def place_order(self) -> str:
        """Place an order in copies; the vendor is notified of one."""
        body = {
            "orderType": "FOOD",
            "vendorId": self.vendor.user[1],
            "items": [{"itemId": "ndole", "quantity": 2}],
            "deliveryAddress": {"lat": LAT + 0.01, "lng": LNG, "address": "Rue Joffre"},
            "paymentMethod": "WALLET",
        }
        answers = await self.user.post_copies("/orders", self._next_key(), body)
        order_id = self._check_answers("POST /orders", answers)["orderId"]
        await self._expect_event_once("POST /orders", self.vendor, "new_order", order_id)
        return order_id

    async def wait_for_offer(self, rider: MultiClientUser, order_id: str) -> str:
        """Wait for a rider's offer; its id.

        Errors: BenchFailed.
        """
        rider.offers.pop(order_id, None)
        await wait_for(lambda: order_id in rider.offers, EVENT_TIMEOUT_S)
        if order_id not in rider.offers:
            raise BenchFailed(f"{rider.user[1]} was not offered {order_id}")
        return rider.offers[order_id]

    async def run_round(self) -> None:
        """Top up, deliver one order, and cancel or reject three."""
        balances = await self.user.read_balance(), await self.vendor.read_balance()
        topup = {"amount": TOPUP_XAF, "provider": "sandbox"}
        answers = await self.user.post_copies("/wallet/topup", self._next_key(), topup)
        self._check_answers("POST /wallet/topup", answers)
        await self._expect_balance("POST /wallet/topup", self.user, balances[0] + TOPUP_XAF)
        paid = balances[0] + TOPUP_XAF - SUBTOTAL_XAF - FEE_XAF
        order_id = await self.place_order()
        await self._expect_balance("POST /orders", self.user, paid)
        await self.deliver(order_id)
        await self._expect_event_once("complete_delivery", self.vendor, "order_settled", order_id)
        await self._expect_balance("complete_delivery", self.vendor, balances[1] + VENDOR_XAF)
        for end_order, event in (
            (self.cancel_by_socket, "order_cancelled"),
            (self.cancel_by_http, "order_cancelled"),
            (self.reject, "order_rejected"),
        ):
            order_id = await self.place_order()
            await end_order(order_id)
            await self._expect_event_once(end_order.__name__, self.user, event, order_id)
            await self._expect_balance(end_order.__name__, self.user, paid)

    async def deliver(self, order_id: str) -> None:
        """Deliver an order that one rider declines, one gives back, and one completes."""
        first, second, third = self.riders
        balance_before = await third.read_balance()
        await self.set_on_duty(first, available=True)
        waiting = asyncio.ensure_future(self.wait_for_offer(first, order_id))
        for step, event in (
            ("accept_order", "order_accepted"),
            ("order_preparing", "order_preparing"),
            ("order_ready", "order_ready"),
        ):
            await self.send_command(self.vendor, step, order_id)
            await self._expect_event_once(step, self.user, event, order_id)
        offer_id = await waiting
        await self.set_on_duty(first, available=False)
        await self.send_command(first, "decline_delivery", order_id, offerId=offer_id)
        await self._accept_offer(second, order_id)
        await self.set_on_duty(second, available=False)
        await self.send_command(second, "release_delivery", order_id, reason="a flat tyre")
        await self._accept_offer(third, order_id, times=2)
        await self.set_on_duty(third, available=False)
        for step, event in (
            ("arrived_pickup", "rider_arrived"),
            ("pick_up", "order_picked_up"),
            ("arrived_dropoff", None),
            ("complete_delivery", "order_delivered"),
        ):
            await self.send_command(third, step, order_id)
            if event is not None:
                await self._expect_event_once(step, self.user, event, order_id)
        await self._expect_event_once("complete_delivery", third, "order_settled", order_id)
        await self._expect_balance("complete_delivery", third, balance_before + FEE_XAF)
        await self.send_command(self.user, "rate_order", order_id, rating=5)

    async def _accept_offer(self, rider: MultiClientUser, order_id: str, times: int = 1) -> None:
        """A rider becomes available, gets the offer, and accepts it."""
        waiting = asyncio.ensure_future(self.wait_for_offer(rider, order_id))
        await self.set_on_duty(rider, available=True)
        offer_id = await waiting
        await self.send_command(rider, "accept_delivery", order_id, offerId=offer_id)
        event = ("rider_assigned", order_id)
        await wait_for(lambda: self.user.event_counts[event] >= times, EVENT_TIMEOUT_S)
        if self.user.event_counts[event] != times:
            self.violations.append(
                f"accept_delivery: {self.user.event_counts[event]} rider_assigned"
            )

    async def cancel_by_socket(self, order_id: str) -> None:
        """The customer cancels by a socket command."""
        await self.send_command(self.user, "cancel_order", order_id, reason="too late")

    async def cancel_by_http(self, order_id: str) -> None:
        """The customer cancels by an HTTP request."""
        answers = await self.user.post_copies(f"/orders/{order_id}/cancel", self._next_key(), {})
        self._check_answers("POST /orders/{id}/cancel", answers)

    async def reject(self, order_id: str) -> None:
        """The vendor rejects the order."""
        await self.send_command(self.vendor, "reject_order", order_id, reason="sold out")

    async def read_trial_balance(self) -> int:
        """Sum over all accounts of the ledger; zero if it is correct."""
        report = await self.site.request("GET", "/admin/ledger/trial-balance", ("ADMIN", "adm_1"))
        return report["total"]

    def progress(self) -> str:
        """Progress as one line of text."""
        return f"{sum(self.answers.values())} answers"

    def close(self) -> None:
        """Disconnect all clients."""
        for user in (self.user, self.vendor, *self.riders):
            user.close()


async def measure(size: Size, folder: Path) -> dict[str, Any]:
    """Run all rounds.

    Errors: BenchFailed.
    """
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(fleet(folder, NODES))
        run = Run(servers, size)
        stack.callback(run.close)
        await run.prepare()
        await stack.enter_async_context(report_progress("repeats", run.progress))
        reporting = asyncio.create_task(run.keep_reporting())
        for _ in range(size.rounds):
            await run.run_round()
        await cancel(reporting)
        return {
            "kinds": len(run.answers),
            "commands": sum(run.answers.values()) // size.copies,
            "answers": sum(run.answers.values()),
            "violations": run.violations,
            "trial_balance": await run.read_trial_balance(),
            "faults": sum(len(node.log_faults) for node in servers.nodes),
        }


def is_good(figures: dict[str, Any]) -> bool:
    """Whether the promises hold."""
    is_wrong = figures["violations"] or figures["trial_balance"] or figures["faults"]
    return figures["answers"] > 0 and not is_wrong


def main() -> None:
    """Run the test and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=1, help="full size: 5")
    parser.add_argument("--seed", type=int, default=1, help="unused; part of the printed result")
    options = parser.parse_args()
    size = Size(options.copies, options.rounds)
    with tempfile.TemporaryDirectory(prefix="reeyo-") as folder:
        figures = uvloop.run(measure(size, Path(folder)))
    result = "kept" if is_good(figures) else "broken"
    print_result("repeats", {**size._asdict(), "seed": options.seed}, {**figures, "result": result})
    raise SystemExit(result != "kept")


if __name__ == "__main__":
    main()
