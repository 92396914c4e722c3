"""The ledger monitor reports breaks, stops payouts, and works on the leader's node only."""

import asyncio

import pytest

from dispatch import metrics
from dispatch.errors import Refused
from dispatch.money.ledger_monitor import ALERT_EVERY_MS, LedgerMonitor
from dispatch.money.payouts.gate_store import PayoutGateStore
from dispatch.wire.events import Alert
from ledger.reporting.audit import Audit
from ledger.reporting.checks import INVARIANTS
from tests.ledger.scenarios.cluster import ServerNode
from tests.ledger.scenarios.corruptions import CORRUPTIONS, corrupt, run_on_ledger

# A balance of the vendor's wallet that does not fit its last line.
CORRUPTION = CORRUPTIONS[9]


def new_monitor(node: ServerNode) -> LedgerMonitor:
    """The monitor of a node."""
    clock = node.clock
    gate = PayoutGateStore(node.table, clock)
    return LedgerMonitor(gate, lambda: Audit(node.table, clock.now_ms), clock)


def test_a_break_stops_payouts():
    """A broken invariant is returned, and no payout can be approved from then on."""

    async def scenario(cluster, ids):
        node = cluster.add_node()
        monitor = new_monitor(node)
        before = await monitor.verify()
        corrupt(cluster, ids, CORRUPTION)
        after = await monitor.verify()
        with pytest.raises(Refused) as raised:
            await node.approve_payout(ids["waiting"])
        return before, after, raised.value.message

    before, after, message = run_on_ledger(scenario)
    assert before == []
    assert {each.invariant for each in after} == {"balance_is_last_line", "balance_available"}
    assert "stopped" in message


def test_the_gate_names_the_monitor_and_the_break():
    """The gate that operators see says who stopped payouts and why."""

    async def scenario(cluster, ids):
        node = cluster.add_node()
        corrupt(cluster, ids, CORRUPTION)
        await new_monitor(node).verify()
        return await PayoutGateStore(node.table, cluster.clock).get()

    gate = run_on_ledger(scenario)
    assert (gate["stopped"], gate["by"]) == (True, "ledger_monitor")
    assert "VENDOR#ven_1" in gate["reason"]


def test_a_break_alerts_operators():
    """The audit after a break raises one alert that names it; a correct ledger raises none."""

    async def scenario(cluster, ids):
        alerts: list[tuple[Alert, int]] = []

        async def raise_alert(alert: Alert, every_ms: int) -> bool:
            alerts.append((alert, every_ms))
            return True

        node = cluster.add_node()
        running = asyncio.ensure_future(new_monitor(node).run(lambda: True, raise_alert))
        await cluster.clock.sleep(130)
        before = list(alerts)
        corrupt(cluster, ids, CORRUPTION)
        await node.top_up(1_000, "after")
        await cluster.clock.sleep(61)
        running.cancel()
        return before, alerts

    before, alerts = run_on_ledger(scenario)
    assert before == []
    [(alert, every_ms)] = alerts
    assert (alert.kind, every_ms) == ("ledger_broken", ALERT_EVERY_MS)
    assert "VENDOR#ven_1" in alert.message
    assert "payouts are stopped" in alert.message


def test_a_node_without_the_lease_checks_nothing():
    """While another node is the leader no audit runs, and the gate stays as it was."""

    async def scenario(cluster, ids):
        async def raise_alert(_alert: Alert, _every_ms: int) -> bool:
            raise AssertionError("no audit should have run")

        corrupt(cluster, ids, CORRUPTION)
        monitor = new_monitor(cluster.add_node())
        running = asyncio.ensure_future(monitor.run(lambda: False, raise_alert))
        await cluster.clock.sleep(200)
        running.cancel()
        return cluster.item("CONFIG#GLOBAL", "PAYOUTS")

    assert run_on_ledger(scenario) is None


def test_every_invariant_has_a_metric():
    """An audit sets the gauge of every invariant: above 0 for broken ones, 0 for the others."""

    async def scenario(cluster, ids):
        corrupt(cluster, ids, CORRUPTION)
        return await new_monitor(cluster.add_node()).verify()

    found = {each.invariant for each in run_on_ledger(scenario)}
    gauges = {
        sample.labels["invariant"]: sample.value
        for metric in metrics.LEDGER_BREAKS.collect()
        for sample in metric.samples
    }
    assert gauges.keys() == set(INVARIANTS)
    assert {name for name, value in gauges.items() if value} == found
