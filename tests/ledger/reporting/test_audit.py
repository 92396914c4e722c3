"""The audit finds what is wrong with the books, names it, and raises no false alarm."""

import asyncio

import pytest

from dispatch import metrics
from dispatch.errors import Refused
from dispatch.money.ledger_monitor import Warden
from ledger.reporting.audit import Audit
from ledger.reporting.checks import INVARIANTS
from tests import virtual_time
from tests.ledger.scenarios.corruptions import (
    CORRUPTIONS,
    Corruption,
    breaks_of,
    build_town,
    setting,
    spoil,
)
from tests.ledger.scenarios.random_choices import seeded
from tests.ledger.scenarios.shop import Shop


def run(story):
    """Tell a story of one town on virtual time."""

    async def main():
        shop = Shop()
        return await story(shop, await build_town(shop))

    with seeded(1):
        return virtual_time.run(main())


def test_right_books_are_called_right():
    """A town with one of everything, looked at whole, by a day, and by a minute."""

    async def story(shop, _places):
        now_ms = shop.clock.now_ms()
        whole = Audit(shop.node().table, shop.clock.now_ms)
        found = [each async for each in whole.breaks()]
        for span in ((now_ms - 86_400_000, None), (now_ms - 60_000, now_ms), (1, 2)):
            part = Audit(shop.node().table, shop.clock.now_ms)
            found += [each async for each in part.breaks(*span)]
        return found, whole.lines, whole.entries

    found, lines, entries = run(story)
    assert found == []
    assert lines >= 16
    assert entries >= 16


def test_every_corruption_is_named():
    """25 ways and one to spoil one item: each is found under its rule, and gone when put right."""

    async def story(shop, places):
        told = {}
        for corruption in CORRUPTIONS:
            put_right = spoil(shop, places, corruption)
            rules = {each.invariant for each in await breaks_of(shop)}
            put_right()
            told[corruption.name] = corruption.rule in rules or rules
        return told, await breaks_of(shop)

    told, after = run(story)
    assert {name: rules for name, rules in told.items() if rules is not True} == {}
    assert len(told) >= 25
    assert after == []


def test_a_delivery_that_nobody_settles_is_named():
    """After a minute it is a break; before it is not."""

    async def story(shop, places):
        fin = Corruption("", "ORDER#{open}", "FIN", _delivered(shop.clock.now_ms()), "")
        spoil(shop, places, fin)
        soon = {each.invariant for each in await breaks_of(shop)}
        await shop.clock.sleep(61)
        return soon, {each.invariant for each in await breaks_of(shop)}

    assert run(story) == (set(), {"settled_in_time"})


def _delivered(now_ms):
    listed = {"GSI2PK": "SETTLE#PENDING#0", "GSI2SK": f"{now_ms:013d}#x"}
    return setting(finState="DELIVERED", riderId="rdr_1", deliveredAt=now_ms, **listed)


def test_broken_books_stop_payouts():
    """The warden says so, shuts the gate, and corrects nothing; an operator opens it again."""

    async def story(shop, places):
        node = shop.node()
        warden = Warden(node.table, shop.clock)
        good = await warden.look()
        spoil(shop, places, CORRUPTIONS[9])
        bad = await warden.look()
        with pytest.raises(Refused) as raised:
            await node.approve(places["waiting"])
        return good, bad, raised.value.message

    good, bad, message = run(story)
    assert good == []
    assert {each.invariant for each in bad} == {"balance_is_last_line", "balance_available"}
    assert "stopped" in message


def test_operators_are_told_of_broken_books():
    """The next look after the break raises an alert that names it; right books raise none."""

    async def story(shop, places):
        told = []

        async def alarm(alert, every_ms):
            told.append((alert.kind, alert.message, every_ms))
            return True

        node = shop.node()
        looking = asyncio.ensure_future(Warden(node.table, shop.clock).run(lambda: True, alarm))
        await shop.clock.sleep(130)
        before = list(told)
        spoil(shop, places, CORRUPTIONS[9])
        await node.top_up(1_000, "after")
        await shop.clock.sleep(61)
        looking.cancel()
        return before, told

    before, told = run(story)
    assert before == []
    assert [kind for kind, _, _ in told] == ["ledger_broken"]
    assert "VENDOR#ven_1" in told[0][1]
    assert "payouts are stopped" in told[0][1]


def test_a_node_that_does_not_rule_looks_at_nothing():
    """Of several nodes one is the warden."""

    async def story(shop, places):
        async def alarm(alert, every_ms):
            raise AssertionError("nobody was to look")

        spoil(shop, places, CORRUPTIONS[9])
        warden = Warden(shop.node().table, shop.clock)
        looking = asyncio.ensure_future(warden.run(lambda: False, alarm))
        await shop.clock.sleep(200)
        looking.cancel()
        return shop.item("CONFIG#GLOBAL", "PAYOUTS")

    assert run(story) is None


def test_every_invariant_has_a_metric():
    """A look sets the gauge of each rule, so that the one that is not looked at is seen."""

    async def story(shop, places):
        spoil(shop, places, CORRUPTIONS[9])
        return await Warden(shop.node().table, shop.clock).look()

    found = {each.invariant for each in run(story)}
    gauges = {
        sample.labels["invariant"]: sample.value
        for metric in metrics.LEDGER_BREAKS.collect()
        for sample in metric.samples
    }
    assert gauges.keys() == set(INVARIANTS)
    assert {name for name, value in gauges.items() if value} == found
