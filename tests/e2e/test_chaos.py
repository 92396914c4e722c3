"""Servers die under a working town, and nothing that was acknowledged is lost."""

from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from city.client.tokens import BadgeOffice
from tests.e2e import actors, invariants
from tests.e2e.actors import Rider
from tests.e2e.chaos import Size, is_good, measure, shown
from tests.e2e.invariants import Facts
from tests.e2e.swarm import Ack, Doors, Heard, Record

AT_MS = 10_000
ORDER = {
    "PK": "ORDER#ord_1", "SK": "METADATA", "orderId": "ord_1", "userId": "usr_1",
    "vendorId": "ven_1", "status": "FUNDS_DISTRIBUTED", "rating": 4,
    "pricing": {"subtotal": 5000}, "dispatch": {"riderId": "rdr_1"},
    "times": {"ACCEPTED": AT_MS, "DELIVERED": AT_MS, "FUNDS_DISTRIBUTED": AT_MS},
}  # fmt: skip
MONEY = {
    "PK": "ORDER#ord_1", "SK": "FIN", "orderId": "ord_1", "finState": "SETTLED", "escrow": 0,
}  # fmt: skip
DUTY = {
    "PK": "RIDER#rdr_1", "SK": "DUTY", "cnt": 0, "delivered": 1, "ratings": 1, "stars": 4,
}  # fmt: skip


def wallet(account, amount):
    """A balance and its only line."""
    pk = f"WALLET#{account}"
    return [
        {"PK": pk, "SK": "BALANCE", "posted": amount, "seq": 1},
        {"PK": pk, "SK": "TXN#1", "seq": 1, "amount": amount,
         "balanceBefore": 0, "balanceAfter": amount},
    ]  # fmt: skip


def settlement():
    """A settled order's journal entry."""
    legs = [{"account": "a", "amount": -6500}, {"account": "b", "amount": 6500}]
    return {"PK": "ORDER#ord_1", "SK": "JE#SETTLE", "legs": legs}


def ack(who, command, at_s, **facts):
    """A command that was answered with a yes."""
    data = {"orderId": "ord_1", "version": int(at_s)}
    payload = {"orderId": "ord_1", "commandId": f"{who}-{command}", **facts}
    return Ack(who, command, payload, data, "", at_s, at_s + 0.5)


def receipt(said):
    """What the server keeps of a command."""
    return {"PK": f"RECEIPT#{said.who}#COMMAND#{said.payload['commandId']}", "SK": "RECEIPT"}


def heard(who, name, seq):
    """An event about the order."""
    return Heard(who, name, {"orderId": "ord_1", "epoch": "e", "seq": seq}, AT_MS)


def good():
    """A whole run of one order, in which nothing went wrong."""
    said = [
        ack("vendor:ven_1", "accept_order", 2.0),
        ack("rider:rdr_1", "accept_delivery", 3.0),
        ack("rider:rdr_1", "complete_delivery", 5.0),
        ack("user:usr_1", "rate_order", 6.0, rating=4),
    ]
    told = [
        heard("user:usr_1", "order_accepted", 1),
        heard("user:usr_1", "order_delivered", 2),
        heard("vendor:ven_1", "order_delivered", 1),
        heard("vendor:ven_1", "order_settled", 2),
        heard("rider:rdr_1", "order_settled", 1),
    ]
    placed = ack("user:usr_1", "place_order", 1.0)._replace(payload={"vendorId": "ven_1"})
    books = [*wallet("VENDOR#ven_1", 4250), *wallet("RIDER#rdr_1", 1500)]
    rest = {"PK": "WALLET#PLATFORM", "SK": "BALANCE", "posted": -5750}
    items = [ORDER, MONEY, DUTY, rest, settlement(), *books, *map(receipt, said)]
    return Facts(Record(acks=[placed, *said], heard=told, repeats=1), items)


def broken(facts):
    """The promises that the auditor finds broken."""
    return {finding.name for finding in invariants.judge(facts) if finding.wrong}


def without(facts, **wanted):
    """The same facts without the items that are so."""
    kept = [i for i in facts.items if not wanted.items() <= i.items()]
    return Facts(facts.record, kept)


def changed(facts, sk, **changes):
    """The same facts with other values in the items under a key."""
    return Facts(facts.record, [{**i, **changes} if i["SK"] == sk else i for i in facts.items])


def with_acks(*more):
    """A good run in which these were acknowledged, too."""
    facts = good()
    facts.record.acks.extend(more)
    return Facts(facts.record, [*facts.items, *map(receipt, more)])


def with_heard(*told):
    """A good run but for what was told."""
    facts = good()
    facts.record.heard[:] = told
    return facts


SECOND = ack("rider:rdr_1", "accept_delivery", 4.0, orderId="ord_2", commandId="another")


def test_a_good_run_is_found_good():
    """Where nothing is wrong nothing is found, and everything was looked at."""
    findings = invariants.judge(good())

    assert not broken(good())
    assert all(finding.of for finding in findings), findings


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        (without(good(), SK="METADATA"), {"orders_lost", "effects_lost"}),
        (changed(good(), "METADATA", times={}), {"effects_lost"}),
        (changed(good(), "METADATA", status="READY"), {"orders_open", "settled_wrong"}),
        (changed(good(), "DUTY", delivered=2), {"effects_doubled"}),
        (changed(good(), "DUTY", carries_ord_1=1), {"orders_open"}),
        (changed(good(), "FIN", escrow=6500), {"money_drift"}),
        (changed(good(), "BALANCE", posted=1), {"money_drift", "wallets_wrong", "shares_wrong"}),
        (changed(good(), "TXN#1", balanceBefore=7), {"wallets_wrong"}),
        (without(good(), SK="JE#SETTLE"), {"settled_wrong"}),
        (without(good(), SK="RECEIPT"), {"receipts_lost"}),
        (with_acks(ack("rider:rdr_2", "accept_delivery", 4.0)), {"doubly_assigned"}),
        (with_acks(SECOND), {"above_capacity"}),
        (with_heard(heard("user:usr_1", "order_accepted", 1)), {"events_wrong"}),
        (
            with_heard(*good().record.heard, heard("user:usr_1", "order_accepted", 4)),
            {"events_gaps", "events_wrong"},
        ),
        (Facts(good().record, good().items, ["Traceback"]), {"faults"}),
    ],
)  # fmt: skip
def test_whatever_is_wrong_is_found(facts, names):
    """Each kind of damage is found under its own name."""
    assert names <= broken(facts), broken(facts)


def test_a_resync_stands_for_what_was_said_before_it():
    """An app that was told to take snapshots has missed nothing that happened before that."""
    resync = [
        Heard(who, "resync", {"epoch": "f", "seq": 0}, AT_MS)
        for who in ("user:usr_1", "vendor:ven_1", "rider:rdr_1")
    ]

    assert not broken(with_heard(*resync))


class Resynced(Rider):
    """Takes an order; while he says that he is at the shop, Redis dies with the news for him."""

    def __init__(self):
        office = BadgeOffice("s" * 32, lambda: AT_MS)
        super().__init__(
            "rdr_1", Doors(lambda: [""], cast("Any", None), office), Record(), Random(1)
        )
        self.said = []

    async def say(self, command, **facts):
        self.said.append(command)
        if command == "arrived_pickup":
            self.resyncs += 1
        return {"status": "PREPARING"}

    async def ask(self, method, path, body=None, key=""):
        return {"orderId": "ord_1", "status": "READY"}

    async def pause(self, at_most_s=0.3):
        """He hurries."""


async def test_a_rider_who_was_resynced_before_he_waits_looks_at_once(
    monkeypatch: pytest.MonkeyPatch,
):
    """He waited for news that the resync stood for, and the run was taken for a broken one."""
    monkeypatch.setattr(actors, "MISSED_S", 0.01)
    monkeypatch.setattr(actors, "RELEASES", 0)
    rider = Resynced()
    await rider._answer({"orderId": "ord_1", "offerId": "off_1"})

    assert rider.said[-2:] == ["arrived_dropoff", "complete_delivery"]
    assert rider.record.missed == []


@pytest.mark.slow
@pytest.mark.timeout(480)
async def test_kills_cost_nothing_that_was_acknowledged(tmp_path: Path):
    """Two hundred orders under twenty `kill -9`: none lost, none carried twice, no money astray."""
    figures, findings = await measure(Size(orders=200, kills=20), 1, tmp_path)

    wrong = {finding.name: finding.wrong[:5] for finding in findings if finding.wrong}
    assert (wrong, is_good(figures, findings)) == ({}, True), (figures, shown(findings))
