"""Tests of the chaos run: killed servers lose nothing acknowledged, and the checks find damage."""

from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from city.client.tokens import TokenSigner
from tests.e2e import invariants
from tests.e2e.chaos import Size, is_good, measure, summarize_results
from tests.e2e.invariants import RunEvidence
from tests.e2e.retrying_client import Ack, ReceivedEvent, ServerAccess, SwarmRecord
from tests.e2e.swarm_actors import Rider

AT_MS = 10_000
ORDER_ITEM = {
    "PK": "ORDER#ord_1", "SK": "METADATA", "orderId": "ord_1", "userId": "usr_1",
    "vendorId": "ven_1", "status": "FUNDS_DISTRIBUTED", "rating": 4,
    "pricing": {"subtotal": 5000}, "dispatch": {"riderId": "rdr_1"},
    "times": {"ACCEPTED": AT_MS, "DELIVERED": AT_MS, "FUNDS_DISTRIBUTED": AT_MS},
}  # fmt: skip
FUNDS_ITEM = {
    "PK": "ORDER#ord_1", "SK": "FUNDS", "orderId": "ord_1", "fundsState": "SETTLED", "escrow": 0,
}  # fmt: skip
WORKLOAD_ITEM = {
    "PK": "RIDER#rdr_1", "SK": "WORKLOAD", "orderCount": 0, "delivered": 1, "ratings": 1,
    "stars": 4,
}  # fmt: skip


def wallet_items(account, amount):
    """A balance and its only line."""
    pk = f"WALLET#{account}"
    return [
        {"PK": pk, "SK": "BALANCE", "posted": amount, "seq": 1},
        {"PK": pk, "SK": "TXN#1", "seq": 1, "amount": amount,
         "balanceBefore": 0, "balanceAfter": amount},
    ]  # fmt: skip


def settlement_item():
    """A settled order's journal entry."""
    legs = [{"account": "a", "amount": -6500}, {"account": "b", "amount": 6500}]
    return {"PK": "ORDER#ord_1", "SK": "JE#SETTLE", "legs": legs}


def accepted_command(identity, command, at_s, **fields):
    """An accepted command."""
    data = {"orderId": "ord_1", "version": int(at_s)}
    payload = {"orderId": "ord_1", "commandId": f"{identity}-{command}", **fields}
    return Ack(identity, command, payload, data, "", at_s, at_s + 0.5)


def command_record(ack):
    """The idempotency record of a command."""
    return {"PK": f"IDEMPOTENCY#{ack.identity}#COMMAND#{ack.payload['commandId']}", "SK": "RECORD"}


def received_event(identity, name, seq):
    """An event about the order."""
    return ReceivedEvent(identity, name, {"orderId": "ord_1", "epoch": "e", "seq": seq}, AT_MS)


def good_run():
    """Evidence of one order in which nothing went wrong."""
    acks = [
        accepted_command("vendor:ven_1", "accept_order", 2.0),
        accepted_command("rider:rdr_1", "accept_delivery", 3.0),
        accepted_command("rider:rdr_1", "complete_delivery", 5.0),
        accepted_command("user:usr_1", "rate_order", 6.0, rating=4),
    ]
    events = [
        received_event("user:usr_1", "order_accepted", 1),
        received_event("user:usr_1", "order_delivered", 2),
        received_event("vendor:ven_1", "order_delivered", 1),
        received_event("vendor:ven_1", "order_settled", 2),
        received_event("rider:rdr_1", "order_settled", 1),
    ]
    placed = accepted_command("user:usr_1", "place_order", 1.0)._replace(
        payload={"vendorId": "ven_1"}
    )
    wallets = [*wallet_items("VENDOR#ven_1", 4250), *wallet_items("RIDER#rdr_1", 1500)]
    platform = {"PK": "WALLET#PLATFORM", "SK": "BALANCE", "posted": -5750}
    items = [
        ORDER_ITEM,
        FUNDS_ITEM,
        WORKLOAD_ITEM,
        platform,
        settlement_item(),
        *wallets,
        *map(command_record, acks),
    ]
    return RunEvidence(SwarmRecord(acks=[placed, *acks], events=events, repeat_count=1), items)


def failed_checks(evidence):
    """Names of the checks that fail."""
    return {result.name for result in invariants.run_checks(evidence) if result.violations}


def without_items(evidence, **fields):
    """The same evidence without the items that have these fields."""
    items = [i for i in evidence.items if not fields.items() <= i.items()]
    return RunEvidence(evidence.record, items)


def with_changed_items(evidence, sk, **changes):
    """The same evidence with changed values in the items under a sort key."""
    return RunEvidence(
        evidence.record, [{**i, **changes} if i["SK"] == sk else i for i in evidence.items]
    )


def with_acks(*acks):
    """A good run with more acknowledged commands."""
    evidence = good_run()
    evidence.record.acks.extend(acks)
    return RunEvidence(evidence.record, [*evidence.items, *map(command_record, acks)])


def with_events(*events):
    """A good run with other events."""
    evidence = good_run()
    evidence.record.events[:] = events
    return evidence


SECOND_ACCEPT = accepted_command(
    "rider:rdr_1", "accept_delivery", 4.0, orderId="ord_2", commandId="another"
)


def test_a_good_run_passes_every_check():
    """A good run has no violations, and every check compared something."""
    results = invariants.run_checks(good_run())

    assert not failed_checks(good_run())
    assert all(result.checked_count for result in results), results


@pytest.mark.parametrize(
    ("evidence", "names"),
    [
        (without_items(good_run(), SK="METADATA"), {"orders_lost", "effects_lost"}),
        (with_changed_items(good_run(), "METADATA", times={}), {"effects_lost"}),
        (
            with_changed_items(good_run(), "METADATA", status="READY"),
            {"orders_open", "settled_wrong"},
        ),
        (with_changed_items(good_run(), "WORKLOAD", delivered=2), {"effects_doubled"}),
        (with_changed_items(good_run(), "WORKLOAD", carries_ord_1=1), {"orders_open"}),
        (with_changed_items(good_run(), "FUNDS", escrow=6500), {"money_drift"}),
        (
            with_changed_items(good_run(), "BALANCE", posted=1),
            {"money_drift", "wallets_wrong", "shares_wrong"},
        ),
        (with_changed_items(good_run(), "TXN#1", balanceBefore=7), {"wallets_wrong"}),
        (without_items(good_run(), SK="JE#SETTLE"), {"settled_wrong"}),
        (without_items(good_run(), SK="RECORD"), {"command_records_lost"}),
        (with_acks(accepted_command("rider:rdr_2", "accept_delivery", 4.0)), {"doubly_assigned"}),
        (with_acks(SECOND_ACCEPT), {"above_capacity"}),
        (with_events(received_event("user:usr_1", "order_accepted", 1)), {"events_wrong"}),
        (
            with_events(
                *good_run().record.events, received_event("user:usr_1", "order_accepted", 4)
            ),
            {"events_gaps", "events_wrong"},
        ),
        (RunEvidence(good_run().record, good_run().items, ["Traceback"]), {"faults"}),
    ],
)
def test_each_kind_of_damage_fails_its_check(evidence, names):
    """Each kind of damage fails the check that is named for it."""
    assert names <= failed_checks(evidence), failed_checks(evidence)


def test_events_before_a_resync_count_as_delivered():
    """Events that happened before a client's resync count as received."""
    resync = [
        ReceivedEvent(owner, "resync", {"epoch": "f", "seq": 0}, AT_MS)
        for owner in ("user:usr_1", "vendor:ven_1", "rider:rdr_1")
    ]

    assert not failed_checks(with_events(*resync))


class ResyncedRider(Rider):
    """Rider whose order becomes ready, with a resync, while it reports its arrival."""

    missed_event_s = 0.01
    release_share = 0.0

    def __init__(self):
        signer = TokenSigner("s" * 32, lambda: AT_MS)
        super().__init__(
            "rdr_1", ServerAccess(lambda: [""], cast("Any", None), signer), SwarmRecord(), Random(1)
        )
        self.sent_commands = []

    async def send_command(self, command, **fields):
        self.sent_commands.append(command)
        if command == "arrived_pickup":
            self.resyncs += 1
        return {"status": "PREPARING"}

    async def request(self, method, path, body=None, key=""):
        return {"orderId": "ord_1", "status": "READY"}

    async def pause(self, max_s=0.3):
        """No pause."""


async def test_a_resync_before_the_wait_polls_at_once():
    """A rider whose resync came before its wait polls the order at once and reports nothing missed.

    It used to wait for an event that the resync stood for, which made a good run look broken.
    """
    rider = ResyncedRider()
    await rider.answer_offer({"orderId": "ord_1", "offerId": "off_1"})

    assert rider.sent_commands[-2:] == ["arrived_dropoff", "complete_delivery"]
    assert rider.record.missed_events == []


@pytest.mark.slow
@pytest.mark.timeout(480)
async def test_kills_cost_nothing_that_was_acknowledged(tmp_path: Path):
    """Two hundred orders under twenty `kill -9` pass every check and end in time."""
    figures, results = await measure(Size(orders=200, kills=20), 1, tmp_path)

    violations = {result.name: result.violations[:5] for result in results if result.violations}
    assert (violations, is_good(figures, results)) == ({}, True), (
        figures,
        summarize_results(results),
    )
