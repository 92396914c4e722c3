"""Races: two requests of which only one may succeed, on two nodes at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from dispatch.errors import Refused
from dispatch.events.idempotency_records import request_key
from dispatch.wire.webhooks import PAYOUT_FAILED, PAYOUT_PAID, PayoutEvent, PayoutReport
from ledger.dynamodb.fake import Latencies
from ledger.records.payouts import provider_reference
from tests import virtual_time
from tests.ledger.scenarios.auditor import Items, find_breaks
from tests.ledger.scenarios.cluster import RIDER, ServerCluster, ServerNode
from tests.ledger.scenarios.money_flows import (
    PAYOUT_AMOUNT,
    PROMO,
    Subject,
    cancel_in_transit,
    order_offered,
    order_picked_up,
    order_settled,
    payout_requested,
    payout_submitted,
    promotion_created,
    vendor_with_earnings,
)
from tests.ledger.scenarios.seeded_randomness import seed_randomness

RaceAction = Callable[[ServerNode, Subject], Awaitable[object]]
SEEDS = range(6)


class Race(NamedTuple):
    """Two competing requests; `allowed` has each allowed outcome with the number of winners."""

    prepare: Callable[[ServerNode], Awaitable[Subject]]
    first: RaceAction
    second: RaceAction
    read_outcome: Callable[[Items, Subject], object]
    allowed: frozenset[tuple[object, int]]


def refund_by(name: str) -> RaceAction:
    return lambda node, on: node.refund_order(on.id, 7_000, name)


def request_payout(name: str) -> RaceAction:
    return lambda node, _on: node.request_payout(150_000, name)


def accept_delivery(rider: str) -> RaceAction:
    return lambda node, on: node.accept_delivery(on.id, rider)


def place_order(name: str) -> RaceAction:
    return lambda node, _on: node.place_order("CASH", name, PROMO)


def report_payout(kind: str) -> RaceAction:
    """The payout's provider reports this outcome."""

    async def act(node: ServerNode, on: Subject) -> object:
        about = PayoutReport(
            payout_id=on.id,
            reference=provider_reference(on.id),
            amount=PAYOUT_AMOUNT,
            currency="XAF",
        )
        event = PayoutEvent(type=kind, data=about)
        return await node.payouts.reports.handle_webhook_event(
            "sandbox", event, request_key("sandbox", kind, event)
        )

    return act


async def offered_to_two(node: ServerNode) -> Subject:
    on = await order_offered("CASH")(node)
    await node.make_offer(on.id, "rdr_2")
    return on


def order_status(items: Items, on: Subject) -> object:
    return items[f"ORDER#{on.id}", "METADATA"]["status"]


def payout_state(items: Items, on: Subject) -> object:
    return items[f"PAYOUT#{on.id}", "REQUEST"]["payoutState"]


def refunded(items: Items, on: Subject) -> object:
    return items[f"ORDER#{on.id}", "FUNDS"]["refunded"]


def held_amount(items: Items, _on: Subject) -> object:
    return items["WALLET#VENDOR#ven_1", "BALANCE"]["held"]


def promotion_spent(items: Items, _on: Subject) -> object:
    return items[f"PROMOTION#{PROMO}", "PROMOTION"]["spent"]


def hold_state(items: Items, on: Subject) -> object:
    return items[f"ORDER#{on.id}", "HOLD#CASH"]["holdState"]


RACES = {
    "delivered or called off": Race(
        order_picked_up("WALLET"),
        lambda node, on: node.complete_delivery(on.id),
        cancel_in_transit,
        order_status,
        frozenset({("DELIVERED", 1), ("CANCELLED", 1)}),
    ),
    "refunded twice": Race(
        order_settled, refund_by("a"), refund_by("b"), refunded, frozenset({(7_000, 1)})
    ),
    "drawn twice": Race(
        vendor_with_earnings,
        request_payout("a"),
        request_payout("b"),
        held_amount,
        frozenset({(150_000, 1)}),
    ),
    "approved or rejected": Race(
        payout_requested,
        lambda node, on: node.approve_payout(on.id),
        lambda node, on: node.reject_payout(on.id),
        payout_state,
        frozenset({("APPROVED", 1), ("REJECTED", 1)}),
    ),
    "paid or failed": Race(
        payout_submitted,
        report_payout(PAYOUT_PAID),
        report_payout(PAYOUT_FAILED),
        payout_state,
        frozenset({("PAID", 1), ("FAILED", 1)}),
    ),
    "assigned twice": Race(
        offered_to_two,
        accept_delivery(RIDER),
        accept_delivery("rdr_2"),
        hold_state,
        frozenset({("OPEN", 1)}),
    ),
    "a promotion's last use": Race(
        promotion_created,
        place_order("a"),
        place_order("b"),
        promotion_spent,
        frozenset({(1_000, 1)}),
    ),
}


async def _run(race: Race) -> tuple[object, int, list[str]]:
    cluster = ServerCluster(Latencies(spread=0.9, index_lag_s=1.0))
    on = await race.prepare(await cluster.start())
    acts = (race.first(cluster.add_node(), on), race.second(cluster.add_node(), on))
    results = await asyncio.gather(*acts, return_exceptions=True)
    won = [each for each in results if not isinstance(each, BaseException)]
    assert all(isinstance(each, Refused) for each in results if each not in won), results
    await cluster.clock.sleep(60)
    return race.read_outcome(cluster.items(), on), len(won), find_breaks(cluster.items())


@pytest.mark.parametrize("name", RACES)
def test_exactly_one_of_two_racers_wins(name: str) -> None:
    """One request succeeds, the other is refused, and the ledger is consistent."""
    race = RACES[name]
    runs: list[tuple[object, int, list[str]]] = []
    for seed in SEEDS:
        with seed_randomness(seed):
            runs.append(virtual_time.run(_run(race)))

    assert {(end, won) for end, won, _ in runs} <= race.allowed
    assert [breaks for _, _, breaks in runs if breaks] == []
