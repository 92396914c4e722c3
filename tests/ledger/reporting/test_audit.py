"""The audit names every planted corruption, and reports nothing in a correct ledger."""

from ledger.reporting.audit import Audit
from tests.ledger.scenarios.corruptions import (
    CORRUPTIONS,
    Corruption,
    audit_breaks,
    corrupt,
    run_on_ledger,
    set_attributes,
)


def test_a_correct_ledger_has_no_breaks():
    """Audited whole, by a day, and by a minute, a ledger with one of everything has no break."""

    async def scenario(cluster, _places):
        now_ms = cluster.clock.now_ms()
        whole = Audit(cluster.add_node().table, cluster.clock.now_ms)
        found = [each async for each in whole.find_breaks()]
        for span in ((now_ms - 86_400_000, None), (now_ms - 60_000, now_ms), (1, 2)):
            part = Audit(cluster.add_node().table, cluster.clock.now_ms)
            found += [each async for each in part.find_breaks(*span)]
        return found, whole.line_count, whole.entry_count

    found, lines, entries = run_on_ledger(scenario)
    assert found == []
    assert lines >= 16
    assert entries >= 16


def test_every_corruption_is_named():
    """Each planted corruption is found under its rule, and gone when it is undone."""

    async def scenario(cluster, ids):
        results = {}
        for corruption in CORRUPTIONS:
            restore = corrupt(cluster, ids, corruption)
            rules = {each.invariant for each in await audit_breaks(cluster)}
            restore()
            results[corruption.name] = corruption.invariant in rules or rules
        return results, await audit_breaks(cluster)

    results, after = run_on_ledger(scenario)
    assert {name: rules for name, rules in results.items() if rules is not True} == {}
    assert len(results) >= 25
    assert after == []


def test_an_overdue_settlement_is_a_break():
    """A delivery is overdue a minute after it, and not before."""

    async def scenario(cluster, ids):
        overdue = Corruption("", "ORDER#{open}", "FUNDS", set_delivered(cluster.clock.now_ms()), "")
        corrupt(cluster, ids, overdue)
        soon = {each.invariant for each in await audit_breaks(cluster)}
        await cluster.clock.sleep(61)
        return soon, {each.invariant for each in await audit_breaks(cluster)}

    assert run_on_ledger(scenario) == (set(), {"settled_in_time"})


def set_delivered(now_ms):
    listed = {"GSI2PK": "SETTLE#PENDING#0", "GSI2SK": f"{now_ms:013d}#x"}
    return set_attributes(fundsState="DELIVERED", riderId="rdr_1", deliveredAt=now_ms, **listed)
