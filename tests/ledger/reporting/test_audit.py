"""The audit finds what is wrong with the books, names it, and raises no false alarm."""

import asyncio

import pytest

from dispatch import metrics
from dispatch.errors import Refused
from dispatch.money.ledger_monitor import LedgerMonitor
from ledger.reporting.audit import Audit
from ledger.reporting.checks import INVARIANTS
from tests import virtual_time
from tests.ledger.scenarios.corruptions import (
    CORRUPTIONS,
    Corruption,
    audit_breaks,
    build_ledger,
    corrupt,
    set_attributes,
)
from tests.ledger.scenarios.random_choices import seed_randomness
from tests.ledger.scenarios.shop import ServerCluster


def run_scenario(scenario):
    """Tell a story of one town on virtual time."""

    async def main():
        shop = ServerCluster()
        return await scenario(shop, await build_ledger(shop))

    with seed_randomness(1):
        return virtual_time.run(main())


def test_a_correct_ledger_has_no_breaks():
    """A town with one of everything, looked at whole, by a day, and by a minute."""

    async def story(shop, _places):
        now_ms = shop.clock.now_ms()
        whole = Audit(shop.add_node().table, shop.clock.now_ms)
        found = [each async for each in whole.find_breaks()]
        for span in ((now_ms - 86_400_000, None), (now_ms - 60_000, now_ms), (1, 2)):
            part = Audit(shop.add_node().table, shop.clock.now_ms)
            found += [each async for each in part.find_breaks(*span)]
        return found, whole.line_count, whole.entry_count

    found, lines, entries = run_scenario(story)
    assert found == []
    assert lines >= 16
    assert entries >= 16


def test_every_corruption_is_named():
    """25 ways and one to spoil one item: each is found under its rule, and gone when put right."""

    async def story(shop, places):
        told = {}
        for corruption in CORRUPTIONS:
            put_right = corrupt(shop, places, corruption)
            rules = {each.invariant for each in await audit_breaks(shop)}
            put_right()
            told[corruption.name] = corruption.invariant in rules or rules
        return told, await audit_breaks(shop)

    told, after = run_scenario(story)
    assert {name: rules for name, rules in told.items() if rules is not True} == {}
    assert len(told) >= 25
    assert after == []


def test_an_overdue_settlement_is_a_break():
    """After a minute it is a break; before it is not."""

    async def story(shop, places):
        fin = Corruption("", "ORDER#{open}", "FUNDS", set_delivered(shop.clock.now_ms()), "")
        corrupt(shop, places, fin)
        soon = {each.invariant for each in await audit_breaks(shop)}
        await shop.clock.sleep(61)
        return soon, {each.invariant for each in await audit_breaks(shop)}

    assert run_scenario(story) == (set(), {"settled_in_time"})


def set_delivered(now_ms):
    listed = {"GSI2PK": "SETTLE#PENDING#0", "GSI2SK": f"{now_ms:013d}#x"}
    return set_attributes(fundsState="DELIVERED", riderId="rdr_1", deliveredAt=now_ms, **listed)


def test_a_break_stops_payouts():
    """The warden says so, shuts the gate, and corrects nothing; an operator opens it again."""

    async def story(shop, places):
        node = shop.add_node()
        warden = LedgerMonitor(node.table, shop.clock)
        good = await warden.verify()
        corrupt(shop, places, CORRUPTIONS[9])
        bad = await warden.verify()
        with pytest.raises(Refused) as raised:
            await node.approve_payout(places["waiting"])
        return good, bad, raised.value.message

    good, bad, message = run_scenario(story)
    assert good == []
    assert {each.invariant for each in bad} == {"balance_is_last_line", "balance_available"}
    assert "stopped" in message


def test_a_break_alerts_operators():
    """The next look after the break raises an alert that names it; right books raise none."""

    async def story(shop, places):
        told = []

        async def alarm(alert, every_ms):
            told.append((alert.kind, alert.message, every_ms))
            return True

        node = shop.add_node()
        looking = asyncio.ensure_future(
            LedgerMonitor(node.table, shop.clock).run(lambda: True, alarm)
        )
        await shop.clock.sleep(130)
        before = list(told)
        corrupt(shop, places, CORRUPTIONS[9])
        await node.top_up(1_000, "after")
        await shop.clock.sleep(61)
        looking.cancel()
        return before, told

    before, told = run_scenario(story)
    assert before == []
    assert [kind for kind, _, _ in told] == ["ledger_broken"]
    assert "VENDOR#ven_1" in told[0][1]
    assert "payouts are stopped" in told[0][1]


def test_a_node_without_the_lease_checks_nothing():
    """Of several nodes one is the warden."""

    async def story(shop, places):
        async def alarm(alert, every_ms):
            raise AssertionError("nobody was to look")

        corrupt(shop, places, CORRUPTIONS[9])
        warden = LedgerMonitor(shop.add_node().table, shop.clock)
        looking = asyncio.ensure_future(warden.run(lambda: False, alarm))
        await shop.clock.sleep(200)
        looking.cancel()
        return shop.item("CONFIG#GLOBAL", "PAYOUTS")

    assert run_scenario(story) is None


def test_every_invariant_has_a_metric():
    """A look sets the gauge of each rule, so that the one that is not looked at is seen."""

    async def story(shop, places):
        corrupt(shop, places, CORRUPTIONS[9])
        return await LedgerMonitor(shop.add_node().table, shop.clock).verify()

    found = {each.invariant for each in run_scenario(story)}
    gauges = {
        sample.labels["invariant"]: sample.value
        for metric in metrics.LEDGER_BREAKS.collect()
        for sample in metric.samples
    }
    assert gauges.keys() == set(INVARIANTS)
    assert {name for name, value in gauges.items() if value} == found
