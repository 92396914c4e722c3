"""State and span of an audit."""

from ledger.reporting.audit_state import AuditSpan
from tests.ledger.reporting.audited_ledger import AuditedLedger, run


def test_a_span_includes_both_ends() -> None:
    """The first and the last moment belong to the span, their neighbours do not."""
    span = AuditSpan(10, 20)
    assert [span.contains(at_ms) for at_ms in (9, 10, 20, 21)] == [False, True, True, False]


def test_balances_are_read_as_they_are() -> None:
    """A balance is read from the table each time; an unused account is at zero."""

    async def scenario(ledger: AuditedLedger) -> None:
        await ledger.settle("o1")
        before = await ledger.state.read_balance("RIDER#r")
        await ledger.change_balance("RIDER#r", posted=7)
        after = await ledger.state.read_balance("RIDER#r")
        assert (before.posted, after.posted) == (1_500, 7)
        assert (await ledger.state.read_balance("RIDER#unused")).posted == 0

    run(scenario)
