"""The audit finds what is wrong with the books, names it, and raises no false alarm."""

from ledger.reporting.audit import Audit
from tests import virtual_time
from tests.ledger.scenarios.cluster import ServerCluster
from tests.ledger.scenarios.corruptions import (
    CORRUPTIONS,
    Corruption,
    audit_breaks,
    build_ledger,
    corrupt,
    set_attributes,
)
from tests.ledger.scenarios.seeded_randomness import seed_randomness


def run_scenario(scenario):
    """Tell a story of one town on virtual time."""

    async def main():
        cluster = ServerCluster()
        return await scenario(cluster, await build_ledger(cluster))

    with seed_randomness(1):
        return virtual_time.run(main())


def test_a_correct_ledger_has_no_breaks():
    """A town with one of everything, looked at whole, by a day, and by a minute."""

    async def story(cluster, _places):
        now_ms = cluster.clock.now_ms()
        whole = Audit(cluster.add_node().table, cluster.clock.now_ms)
        found = [each async for each in whole.find_breaks()]
        for span in ((now_ms - 86_400_000, None), (now_ms - 60_000, now_ms), (1, 2)):
            part = Audit(cluster.add_node().table, cluster.clock.now_ms)
            found += [each async for each in part.find_breaks(*span)]
        return found, whole.line_count, whole.entry_count

    found, lines, entries = run_scenario(story)
    assert found == []
    assert lines >= 16
    assert entries >= 16


def test_every_corruption_is_named():
    """25 ways and one to spoil one item: each is found under its rule, and gone when put right."""

    async def story(cluster, places):
        told = {}
        for corruption in CORRUPTIONS:
            put_right = corrupt(cluster, places, corruption)
            rules = {each.invariant for each in await audit_breaks(cluster)}
            put_right()
            told[corruption.name] = corruption.invariant in rules or rules
        return told, await audit_breaks(cluster)

    told, after = run_scenario(story)
    assert {name: rules for name, rules in told.items() if rules is not True} == {}
    assert len(told) >= 25
    assert after == []


def test_an_overdue_settlement_is_a_break():
    """After a minute it is a break; before it is not."""

    async def story(cluster, places):
        fin = Corruption("", "ORDER#{open}", "FUNDS", set_delivered(cluster.clock.now_ms()), "")
        corrupt(cluster, places, fin)
        soon = {each.invariant for each in await audit_breaks(cluster)}
        await cluster.clock.sleep(61)
        return soon, {each.invariant for each in await audit_breaks(cluster)}

    assert run_scenario(story) == (set(), {"settled_in_time"})


def set_delivered(now_ms):
    listed = {"GSI2PK": "SETTLE#PENDING#0", "GSI2SK": f"{now_ms:013d}#x"}
    return set_attributes(fundsState="DELIVERED", riderId="rdr_1", deliveredAt=now_ms, **listed)
