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

from bench.common.client import CommandRefused, SocketClient
from bench.common.harness import RunningServer
from bench.common.result_line import print_result
from bench.common.seeding import seed_orders
from city.client.tokens import UserType
from ledger.dynamodb.client import open_table
from tests.e2e.fleet import fleet

ORDERS = 40
CONCURRENT_GUESSERS = 4
# How far a coin of ours may be from fair: the chance that a guess at what is there took longer than
# one at what is not. A read that is saved shows as 0.8 and more; what is left of the difference
# between reading something and reading nothing is far below what a network adds.
BIAS_MAX = 0.1
# Beyond that, so many standard errors of chance in a small sample.
ERRORS_MAX = 4.0
# The pause after which every position has long been told.
POSITION_DELIVERY_S = 1.0

COMMAND_PROBES: dict[UserType, tuple[tuple[str, dict[str, Any]], ...]] = {
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
HTTP_PROBES: tuple[tuple[UserType, str, str, Any], ...] = (
    ("USER", "GET", "/orders/{id}", None),
    ("RIDER", "GET", "/orders/{id}/trail", None),
    ("USER", "POST", "/orders/{id}/cancel", {}),
    ("USER", "POST", "/orders/{id}/tip", {"amount": 100}),
    ("USER", "GET", "/admin/wallets/user/{who}", None),
    ("VENDOR", "POST", "/wallet/payouts/{id}/cancel", None),
)

ProbeCall = Callable[[str], Awaitable[str]]


class Probe(NamedTuple):
    """One way to ask for something by its id; `ask` gives the answer's words."""

    name: str
    send: ProbeCall


@dataclass
class Observations:
    """What the guesser was told, in words without the ids and in seconds."""

    answers: dict[tuple[str, bool], set[str]] = field(default_factory=lambda: defaultdict(set))
    answer_s: dict[tuple[str, bool], list[float]] = field(default_factory=lambda: defaultdict(list))
    event_count: int = 0


def _command_probe(client: SocketClient, name: str, fields: dict[str, Any]) -> ProbeCall:
    async def ask(order_id: str) -> str:
        try:
            return f"told {await client.call(name, {'orderId': order_id, **fields})}"
        except CommandRefused as refused:
            return refused.code

    return ask


def _http_probe(
    site: RunningServer, user_type: UserType, method: str, path: str, body: Any
) -> ProbeCall:
    headers = {"Authorization": f"Bearer {site.signer.sign(user_type, 'guesser')}"}
    content = None if body is None else orjson.dumps(body)

    async def ask(order_id: str) -> str:
        spelled = path.format(id=order_id, who=order_id.replace("ord", "usr"))
        url = f"{site.url}/api/v1{spelled}"
        async with site.session.request(method, url, data=content, headers=headers) as answer:
            return f"{answer.status} {(await answer.text()).replace(order_id, 'X')}"

    return ask


async def _open_probes(
    site: RunningServer, observations: Observations
) -> tuple[list[Probe], list[SocketClient]]:
    def note(_name: str, body: dict[str, Any], _at_s: float) -> None:
        observations.event_count += "orderId" in body

    phones = [await site.connect((kind, "guesser"), note) for kind in COMMAND_PROBES]
    ways = [
        Probe(name, _command_probe(phone, name, more))
        for (_, said), phone in zip(COMMAND_PROBES.items(), phones, strict=True)
        for name, more in said
    ]
    ways += [
        Probe(f"{method} {path}", _http_probe(site, who, method, path, body))
        for who, method, path, body in HTTP_PROBES
    ]
    return ways, phones


async def _send_guesses(
    probes: Sequence[Probe], observations: Observations, rng: random.Random, guesses: int
) -> None:
    """One id after the other; what is there and what is not in turns that nobody foresees."""
    for at in range(guesses):
        way, is_there = probes[at % len(probes)], rng.random() < 0.5
        order_id = f"ord_{rng.randrange(10, ORDERS) + (0 if is_there else 50)}"
        began_s = time.perf_counter()
        words = await way.send(order_id)
        observations.answer_s[way.name, is_there].append(time.perf_counter() - began_s)
        observations.answers[way.name, is_there].add(words)


def probability_slower(existing_s: Sequence[float], missing_s: Sequence[float]) -> float:
    """The chance that the one took longer than the other. Source: Mann and Whitney 1947."""
    ranked = sorted([(s, 1) for s in existing_s] + [(s, 0) for s in missing_s])
    ranks = sum(rank for rank, (_, is_there) in enumerate(ranked, 1) if is_there)
    count = len(existing_s)
    return (ranks - count * (count + 1) / 2) / (count * len(missing_s))


def _bias(observations: Observations, probe_name: str) -> float:
    """How far beyond chance the times of one way tell what is there; 0 where they do not."""
    there, not_there = (
        observations.answer_s[probe_name, True],
        observations.answer_s[probe_name, False],
    )
    # Source: the variance of the statistic where both are drawn from the same.
    error = math.sqrt((len(there) + len(not_there) + 1) / (12 * len(there) * len(not_there)))
    return max(0.0, abs(probability_slower(there, not_there) - 0.5) - ERRORS_MAX * error)


async def _count_owner_positions(site: RunningServer) -> int:
    """Riders of guessed orders drive; how many positions a customer who may see his hears."""
    own: list[str] = []
    customer = await site.connect(("USER", "usr_10"), lambda name, _b, _s: own.append(name))
    await customer.call("subscribe_order", {"orderId": "ord_10"})
    riders = [
        await site.connect(("RIDER", f"rdr_{n}"), lambda _n, _b, _s: None) for n in range(10, 20)
    ]
    for step in range(3):
        for rider in riders:
            await rider.call("location_update", {"lat": 4.05 + step / 1e3, "lng": 9.7})
        await asyncio.sleep(POSITION_DELIVERY_S / 3)
    for phone in (customer, *riders):
        phone.close()
    return own.count("rider_location_update")


async def measure(guesses: int, seed: int, folder: Path) -> dict[str, Any]:
    """So many guesses, by one person in every role, at one server."""
    heard = Observations()
    async with fleet(folder, ["all"]) as running:
        node = running.nodes[0]
        endpoint = running.environ["DYNAMODB_ENDPOINT"]
        async with open_table(endpoint, "eu-west-1", "reeyo") as table:
            await seed_orders(table, ORDERS)
        ways, phones = await _open_probes(node.site, heard)
        draws = (random.Random(seed * 100 + n) for n in range(CONCURRENT_GUESSERS))
        jobs = (_send_guesses(ways, heard, draw, guesses // CONCURRENT_GUESSERS) for draw in draws)
        await asyncio.gather(*jobs)
        positions = await _count_owner_positions(node.site)
        for phone in phones:
            phone.close()
        return _figures(heard, [way.name for way in ways], (positions, len(node.log_faults)))


def _figures(
    observations: Observations, probe_names: list[str], after: tuple[int, int]
) -> dict[str, Any]:
    told = {
        way: observations.answers[way, True] | observations.answers[way, False]
        for way in probe_names
    }
    chances = {
        way: probability_slower(observations.answer_s[way, True], observations.answer_s[way, False])
        for way in probe_names
    }
    worst = max(probe_names, key=lambda way: _bias(observations, way))
    return {
        "guesses": sum(map(len, observations.answer_s.values())),
        "ways": len(probe_names),
        # More than one answer to the same question, or one that is no refusal.
        "leaks": sum(len(words) > 1 for words in told.values()),
        "granted": sum(any(_is_granted(w) for w in words) for words in told.values()),
        "events_heard": observations.event_count,
        "events_of_an_owner": after[0],
        "slower_if_there": {way: round(chance, 3) for way, chance in chances.items()},
        "worst_way": worst,
        "worst_bias": round(_bias(observations, worst), 3),
        "faults": after[1],
    }


def _is_granted(answer: str) -> bool:
    return not answer.startswith(("not_found", "403 ", "404 "))


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
    print_result("guess", vars(given), figures)
    if not is_good(figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
