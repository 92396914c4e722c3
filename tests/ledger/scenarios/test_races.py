"""Two who want what only one can have, from two processes at once; the books stay right."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from dispatch.errors import Refused
from dispatch.events.idempotency_records import receipt_for
from dispatch.wire.webhooks import PAYOUT_FAILED, PAYOUT_PAID, PayoutEvent, PayoutReport
from ledger.dynamodb.fake import Pace
from ledger.records.payouts import reference_of
from tests import virtual_time
from tests.ledger.scenarios.auditor import Items, breaks
from tests.ledger.scenarios.flows import (
    DRAWN,
    PROMO,
    Subject,
    call_off_late,
    drawn,
    earned,
    fetched,
    offered,
    promised,
    sent,
    settled,
)
from tests.ledger.scenarios.random_choices import seeded
from tests.ledger.scenarios.shop import RIDER, Node, Shop

Act = Callable[[Node, Subject], Awaitable[object]]
SEEDS = range(6)


class Race(NamedTuple):
    """Who competes for what; `how` reads the end out of the items, `ends` are the right ones.

    Each end comes with how many of the two got what they asked for.
    """

    before: Callable[[Node], Awaitable[Subject]]
    one: Act
    other: Act
    how: Callable[[Items, Subject], object]
    ends: frozenset[tuple[object, int]]


def refund(name: str) -> Act:
    return lambda node, on: node.refund(on.id, 7_000, name)


def draw(name: str) -> Act:
    return lambda node, _on: node.draw(150_000, name)


def take(rider: str) -> Act:
    return lambda node, on: node.take(on.id, rider)


def place(name: str) -> Act:
    return lambda node, _on: node.place("CASH", name, PROMO)


def hear(kind: str) -> Act:
    """The payout's provider says so."""

    async def act(node: Node, on: Subject) -> object:
        about = PayoutReport(
            payout_id=on.id, reference=reference_of(on.id), amount=DRAWN, currency="XAF"
        )
        event = PayoutEvent(type=kind, data=about)
        return await node.payer.news("sandbox", event, receipt_for("sandbox", kind, event))

    return act


async def offered_to_two(node: Node) -> Subject:
    on = await offered("CASH")(node)
    await node.offer(on.id, "rdr_2")
    return on


def status(items: Items, on: Subject) -> object:
    return items[f"ORDER#{on.id}", "METADATA"]["status"]


def payout(items: Items, on: Subject) -> object:
    return items[f"PAYOUT#{on.id}", "REQUEST"]["pstate"]


def refunded(items: Items, on: Subject) -> object:
    return items[f"ORDER#{on.id}", "FIN"]["refunded"]


def held(items: Items, _on: Subject) -> object:
    return items["WALLET#VENDOR#ven_1", "BALANCE"]["held"]


def spent(items: Items, _on: Subject) -> object:
    return items[f"PROMO#{PROMO}", "PROMOTION"]["spent"]


def hold(items: Items, on: Subject) -> object:
    return items[f"ORDER#{on.id}", "HOLD#CASH"]["hstate"]


RACES = {
    "delivered or called off": Race(
        fetched("WALLET"),
        lambda node, on: node.bring(on.id),
        call_off_late,
        status,
        frozenset({("DELIVERED", 1), ("CANCELLED", 1)}),
    ),
    "refunded twice": Race(
        settled, refund("a"), refund("b"), refunded, frozenset({(7_000, 1)})
    ),
    "drawn twice": Race(earned, draw("a"), draw("b"), held, frozenset({(150_000, 1)})),
    "approved or rejected": Race(
        drawn,
        lambda node, on: node.approve(on.id),
        lambda node, on: node.reject(on.id),
        payout,
        frozenset({("APPROVED", 1), ("REJECTED", 1)}),
    ),
    "paid or failed": Race(
        sent, hear(PAYOUT_PAID), hear(PAYOUT_FAILED), payout,
        frozenset({("PAID", 1), ("FAILED", 1)}),
    ),
    "assigned twice": Race(
        offered_to_two, take(RIDER), take("rdr_2"), hold, frozenset({("OPEN", 1)})
    ),
    "one turn of a promotion": Race(
        promised, place("a"), place("b"), spent, frozenset({(1_000, 1)})
    ),
}  # fmt: skip


async def _run(race: Race) -> tuple[object, int, list[str]]:
    shop = Shop(Pace(spread=0.9, index_lag_s=1.0))
    on = await race.before(await shop.open())
    acts = (race.one(shop.node(), on), race.other(shop.node(), on))
    told = await asyncio.gather(*acts, return_exceptions=True)
    won = [each for each in told if not isinstance(each, BaseException)]
    assert all(isinstance(each, Refused) for each in told if each not in won), told
    await shop.clock.sleep(60)
    return race.how(shop.items(), on), len(won), breaks(shop.items())


@pytest.mark.parametrize("name", RACES)
def test_one_of_two_gets_it(name: str) -> None:
    """Whoever is faster; the other is refused in words, and nothing is done by halves."""
    race = RACES[name]
    came: list[tuple[object, int, list[str]]] = []
    for seed in SEEDS:
        with seeded(seed):
            came.append(virtual_time.run(_run(race)))

    assert {(end, won) for end, won, _ in came} <= race.ends
    assert [flaws for _, _, flaws in came if flaws] == []
