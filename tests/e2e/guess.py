"""Enumeration test: guesses ids of others. `python -m tests.e2e.guess --guesses 10000`.

Half of the guessed ids exist. Neither the answer, nor its time, nor a later event may show which.
Prints one JSON line; exit 1 if one does.
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
# Allowed bias: how far the probability that a guess of an existing id takes longer than one of a
# missing id may be from 0.5. A saved read shows as 0.8 and more; what is left of the difference
# between reading something and reading nothing is far below what a network adds.
BIAS_MAX = 0.1
# On top of it, this many standard errors, for small samples.
ERRORS_MAX = 4.0
# After this pause every position has long been delivered.
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
    ("USER", "GET", "/admin/wallets/user/{user}", None),
    ("VENDOR", "POST", "/wallet/payouts/{id}/cancel", None),
)

ProbeCall = Callable[[str], Awaitable[str]]


class Probe(NamedTuple):
    """One way to ask for something by its id; `send` returns the answer as text."""

    name: str
    send: ProbeCall


@dataclass
class Observations:
    """The answers' texts (with ids removed) and their times, by probe and whether the id exists.

    Units: seconds.
    """

    answers: dict[tuple[str, bool], set[str]] = field(default_factory=lambda: defaultdict(set))
    answer_s: dict[tuple[str, bool], list[float]] = field(default_factory=lambda: defaultdict(list))
    event_count: int = 0


def _command_probe(client: SocketClient, name: str, fields: dict[str, Any]) -> ProbeCall:
    async def send(order_id: str) -> str:
        try:
            return f"granted {await client.call(name, {'orderId': order_id, **fields})}"
        except CommandRefused as refused:
            return refused.code

    return send


def _http_probe(
    site: RunningServer, user_type: UserType, method: str, path: str, body: Any
) -> ProbeCall:
    headers = {"Authorization": f"Bearer {site.signer.sign(user_type, 'guesser')}"}
    content = None if body is None else orjson.dumps(body)

    async def send(order_id: str) -> str:
        target = path.format(id=order_id, user=order_id.replace("ord", "usr"))
        url = f"{site.url}/api/v1{target}"
        async with site.session.request(method, url, data=content, headers=headers) as answer:
            return f"{answer.status} {(await answer.text()).replace(order_id, 'X')}"

    return send


async def _open_probes(
    site: RunningServer, observations: Observations
) -> tuple[list[Probe], list[SocketClient]]:
    def count_event(_name: str, body: dict[str, Any], _at_s: float) -> None:
        observations.event_count += "orderId" in body

    clients = [
        await site.connect((user_type, "guesser"), count_event) for user_type in COMMAND_PROBES
    ]
    probes = [
        Probe(name, _command_probe(client, name, fields))
        for (_, commands), client in zip(COMMAND_PROBES.items(), clients, strict=True)
        for name, fields in commands
    ]
    probes += [
        Probe(f"{method} {path}", _http_probe(site, user_type, method, path, body))
        for user_type, method, path, body in HTTP_PROBES
    ]
    return probes, clients


async def _send_guesses(
    probes: Sequence[Probe], observations: Observations, rng: random.Random, guesses: int
) -> None:
    """Guess one id after the other; existing and missing ones in random order."""
    for number in range(guesses):
        probe, exists = probes[number % len(probes)], rng.random() < 0.5
        order_id = f"ord_{rng.randrange(10, ORDERS) + (0 if exists else 50)}"
        began_s = time.perf_counter()
        answer = await probe.send(order_id)
        observations.answer_s[probe.name, exists].append(time.perf_counter() - began_s)
        observations.answers[probe.name, exists].add(answer)


def probability_slower(existing_s: Sequence[float], missing_s: Sequence[float]) -> float:
    """Probability that a guess of an existing id took longer. Source: Mann and Whitney 1947."""
    ranked = sorted([(s, 1) for s in existing_s] + [(s, 0) for s in missing_s])
    rank_sum = sum(rank for rank, (_, exists) in enumerate(ranked, 1) if exists)
    count = len(existing_s)
    return (rank_sum - count * (count + 1) / 2) / (count * len(missing_s))


def _bias(observations: Observations, probe_name: str) -> float:
    """How far beyond chance the answer times of one probe depend on existence; 0 if not."""
    existing_s, missing_s = (
        observations.answer_s[probe_name, True],
        observations.answer_s[probe_name, False],
    )
    # Source: variance of the Mann-Whitney statistic if both samples have one distribution.
    error = math.sqrt(
        (len(existing_s) + len(missing_s) + 1) / (12 * len(existing_s) * len(missing_s))
    )
    return max(0.0, abs(probability_slower(existing_s, missing_s) - 0.5) - ERRORS_MAX * error)


async def _count_owner_positions(site: RunningServer) -> int:
    """Let the riders of guessed orders move; number of positions that an order's owner receives."""
    received: list[str] = []
    customer = await site.connect(("USER", "usr_10"), lambda name, _b, _s: received.append(name))
    await customer.call("subscribe_order", {"orderId": "ord_10"})
    riders = [
        await site.connect(("RIDER", f"rdr_{n}"), lambda _n, _b, _s: None) for n in range(10, 20)
    ]
    for step in range(3):
        for rider in riders:
            await rider.call("location_update", {"lat": 4.05 + step / 1e3, "lng": 9.7})
        await asyncio.sleep(POSITION_DELIVERY_S / 3)
    for client in (customer, *riders):
        client.close()
    return received.count("rider_location_update")


async def measure(guesses: int, seed: int, folder: Path) -> dict[str, Any]:
    """Guess ids as one user in every role, at one server."""
    observations = Observations()
    async with fleet(folder, ["all"]) as running:
        node = running.nodes[0]
        endpoint = running.environ["DYNAMODB_ENDPOINT"]
        async with open_table(endpoint, "eu-west-1", "reeyo") as table:
            await seed_orders(table, ORDERS)
        probes, clients = await _open_probes(node.site, observations)
        rngs = (random.Random(seed * 100 + n) for n in range(CONCURRENT_GUESSERS))
        jobs = (
            _send_guesses(probes, observations, rng, guesses // CONCURRENT_GUESSERS) for rng in rngs
        )
        await asyncio.gather(*jobs)
        positions = await _count_owner_positions(node.site)
        for client in clients:
            client.close()
        return _figures(
            observations, [probe.name for probe in probes], positions, len(node.log_faults)
        )


def _figures(
    observations: Observations, probe_names: list[str], owner_positions: int, faults: int
) -> dict[str, Any]:
    answers = {
        name: observations.answers[name, True] | observations.answers[name, False]
        for name in probe_names
    }
    probabilities = {
        name: probability_slower(
            observations.answer_s[name, True], observations.answer_s[name, False]
        )
        for name in probe_names
    }
    worst = max(probe_names, key=lambda name: _bias(observations, name))
    return {
        "guesses": sum(map(len, observations.answer_s.values())),
        "probes": len(probe_names),
        # Probes with different answers to the same question, or with one that is no refusal.
        "leaks": sum(len(texts) > 1 for texts in answers.values()),
        "granted": sum(any(_is_granted(text) for text in texts) for texts in answers.values()),
        "events_received": observations.event_count,
        "events_of_an_owner": owner_positions,
        "slower_if_exists": {
            name: round(probability, 3) for name, probability in probabilities.items()
        },
        "worst_probe": worst,
        "worst_bias": round(_bias(observations, worst), 3),
        "faults": faults,
    }


def _is_granted(answer: str) -> bool:
    return not answer.startswith(("not_found", "403 ", "404 "))


def is_good(figures: dict[str, Any]) -> bool:
    """Whether nothing was revealed while positions were delivered to the owner."""
    return (
        figures["worst_bias"] <= BIAS_MAX
        and figures["events_of_an_owner"] > 0
        and not any(figures[name] for name in ("leaks", "granted", "events_received", "faults"))
    )


def main() -> None:
    """Run the guesses and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guesses", type=int, default=10_000, help="10000 is the full size")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reeyo-guess-") as folder:
        figures = uvloop.run(measure(options.guesses, options.seed, Path(folder)))
    print_result("guess", vars(options), figures)
    if not is_good(figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
