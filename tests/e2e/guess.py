"""Ten thousand ids of others, guessed: `python -m tests.e2e.guess --guesses 10000`.

Half of them are there and half are not. Nobody learns which, by the answer, by its time, or by an
event that comes later; one JSON line, exit 1 where somebody would.
"""

import argparse
import asyncio
import math
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import uvloop

from bench.common.client import Phone, Refused
from bench.common.harness import Site
from bench.common.result_line import print_line
from bench.common.seeding import seed as seed_orders
from city.client.tokens import UserType
from ledger.dynamodb.client import open_table
from tests.e2e.fleet import fleet

ORDERS = 40
AT_ONCE = 4
# How far a coin of ours may be from fair: the chance that a guess at what is there took longer than
# one at what is not. A read that is saved shows as 0.8 and more; what is left of the difference
# between reading something and reading nothing is far below what a network adds.
BIAS_MAX = 0.1
# Beyond that, so many standard errors of chance in a small sample.
ERRORS_MAX = 4.0
# The pause after which every position has long been told.
TOLD_S = 1.0

SAYS: dict[UserType, tuple[tuple[str, dict[str, Any]], ...]] = {
    "USER": (
        ("subscribe_order", {}),
        ("cancel_order", {"reason": "mine"}),
        ("rate_order", {"rating": 1}),
    ),
    "VENDOR": (("accept_order", {"prepMinutes": 5}), ("order_ready", {})),
    "RIDER": (
        ("accept_delivery", {"offerId": "ofr_1"}),
        ("pick_up", {}),
        ("complete_delivery", {"cashCollected": 1}),
    ),
}
ASKS: tuple[tuple[UserType, str, str, Any], ...] = (
    ("USER", "GET", "/orders/{id}", None),
    ("RIDER", "GET", "/orders/{id}/trail", None),
    ("USER", "POST", "/orders/{id}/cancel", {}),
    ("USER", "POST", "/orders/{id}/tip", {"amount": 100}),
    ("USER", "GET", "/admin/wallets/user/{who}", None),
    ("VENDOR", "POST", "/wallet/payouts/{id}/cancel", None),
)

Ask = Callable[[str], Awaitable[str]]


class Way(NamedTuple):
    """One way to ask for something by its id; `ask` gives the answer's words."""

    name: str
    ask: Ask


@dataclass
class Heard:
    """What the guesser was told, in words without the ids and in seconds."""

    words: dict[tuple[str, bool], set[str]] = field(default_factory=lambda: defaultdict(set))
    took_s: dict[tuple[str, bool], list[float]] = field(default_factory=lambda: defaultdict(list))
    events: int = 0


def _command(phone: Phone, name: str, more: dict[str, Any]) -> Ask:
    async def ask(order_id: str) -> str:
        try:
            return f"told {await phone.call(name, {'orderId': order_id, **more})}"
        except Refused as refused:
            return refused.code

    return ask


def _request(site: Site, who: UserType, method: str, path: str, body: Any) -> Ask:
    headers = {"Authorization": f"Bearer {site.office.sign(who, 'guesser')}"}
    content = None if body is None else orjson.dumps(body)

    async def ask(order_id: str) -> str:
        spelled = path.format(id=order_id, who=order_id.replace("ord", "usr"))
        url = f"{site.url}/api/v1{spelled}"
        async with site.session.request(method, url, data=content, headers=headers) as answer:
            return f"{answer.status} {(await answer.text()).replace(order_id, 'X')}"

    return ask


async def _ways(site: Site, heard: Heard) -> tuple[list[Way], list[Phone]]:
    def note(_name: str, body: dict[str, Any], _at_s: float) -> None:
        heard.events += "orderId" in body

    phones = [await site.phone((kind, "guesser"), note) for kind in SAYS]
    ways = [
        Way(name, _command(phone, name, more))
        for (_, said), phone in zip(SAYS.items(), phones, strict=True)
        for name, more in said
    ]
    ways += [
        Way(f"{method} {path}", _request(site, who, method, path, body))
        for who, method, path, body in ASKS
    ]
    return ways, phones


async def _guess(ways: Sequence[Way], heard: Heard, draw: random.Random, guesses: int) -> None:
    """One id after the other; what is there and what is not in turns that nobody foresees."""
    for at in range(guesses):
        way, is_there = ways[at % len(ways)], draw.random() < 0.5
        order_id = f"ord_{draw.randrange(10, ORDERS) + (0 if is_there else 50)}"
        began_s = time.perf_counter()
        words = await way.ask(order_id)
        heard.took_s[way.name, is_there].append(time.perf_counter() - began_s)
        heard.words[way.name, is_there].add(words)


def slower(there: Sequence[float], not_there: Sequence[float]) -> float:
    """The chance that the one took longer than the other. Source: Mann and Whitney 1947."""
    ranked = sorted([(s, 1) for s in there] + [(s, 0) for s in not_there])
    ranks = sum(rank for rank, (_, is_there) in enumerate(ranked, 1) if is_there)
    count = len(there)
    return (ranks - count * (count + 1) / 2) / (count * len(not_there))


def _bias(heard: Heard, way: str) -> float:
    """How far beyond chance the times of one way tell what is there; 0 where they do not."""
    there, not_there = heard.took_s[way, True], heard.took_s[way, False]
    # Source: the variance of the statistic where both are drawn from the same.
    error = math.sqrt((len(there) + len(not_there) + 1) / (12 * len(there) * len(not_there)))
    return max(0.0, abs(slower(there, not_there) - 0.5) - ERRORS_MAX * error)


async def _positions(site: Site) -> int:
    """Riders of guessed orders drive; how many positions a customer who may see his hears."""
    own: list[str] = []
    customer = await site.phone(("USER", "usr_10"), lambda name, _b, _s: own.append(name))
    await customer.call("subscribe_order", {"orderId": "ord_10"})
    riders = [
        await site.phone(("RIDER", f"rdr_{n}"), lambda _n, _b, _s: None) for n in range(10, 20)
    ]
    for step in range(3):
        for rider in riders:
            await rider.call("location_update", {"lat": 4.05 + step / 1e3, "lng": 9.7})
        await asyncio.sleep(TOLD_S / 3)
    for phone in (customer, *riders):
        phone.close()
    return own.count("rider_location_update")


async def measure(guesses: int, seed: int, folder: Path) -> dict[str, Any]:
    """So many guesses, by one person in every role, at one server."""
    heard = Heard()
    async with fleet(folder, ["all"]) as running:
        node = running.nodes[0]
        endpoint = running.environ["DYNAMODB_ENDPOINT"]
        async with open_table(endpoint, "eu-west-1", "reeyo") as table:
            await seed_orders(table, ORDERS)
        ways, phones = await _ways(node.site, heard)
        draws = (random.Random(seed * 100 + n) for n in range(AT_ONCE))
        jobs = (_guess(ways, heard, draw, guesses // AT_ONCE) for draw in draws)
        await asyncio.gather(*jobs)
        positions = await _positions(node.site)
        for phone in phones:
            phone.close()
        return _figures(heard, [way.name for way in ways], (positions, len(node.faults)))


def _figures(heard: Heard, ways: list[str], after: tuple[int, int]) -> dict[str, Any]:
    told = {way: heard.words[way, True] | heard.words[way, False] for way in ways}
    chances = {way: slower(heard.took_s[way, True], heard.took_s[way, False]) for way in ways}
    worst = max(ways, key=lambda way: _bias(heard, way))
    return {
        "guesses": sum(map(len, heard.took_s.values())),
        "ways": len(ways),
        # More than one answer to the same question, or one that is no refusal.
        "leaks": sum(len(words) > 1 for words in told.values()),
        "granted": sum(any(_is_granted(w) for w in words) for words in told.values()),
        "events_heard": heard.events,
        "events_of_an_owner": after[0],
        "slower_if_there": {way: round(chance, 3) for way, chance in chances.items()},
        "worst_way": worst,
        "worst_bias": round(_bias(heard, worst), 3),
        "faults": after[1],
    }


def _is_granted(words: str) -> bool:
    return not words.startswith(("not_found", "403 ", "404 "))


def is_good(figures: dict[str, Any]) -> bool:
    """Whether nobody has learned anything."""
    return (
        figures["worst_bias"] <= BIAS_MAX
        and figures["events_of_an_owner"] > 0
        and not any(figures[name] for name in ("leaks", "granted", "events_heard", "faults"))
    )


def main() -> None:
    """Guess and print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guesses", type=int, default=10_000, help="10000 is the full size")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reeyo-guess-") as folder:
        figures = uvloop.run(measure(given.guesses, given.seed, Path(folder)))
    print_line("guess", vars(given), figures)
    if not is_good(figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
