"""Payouts: the services from request to payment, wired together.

REQUESTED (payout_requests: the amount is held) -> APPROVED (payout_decisions: by another person)
-> SUBMITTED (payout_submission: a provider is asked) -> PAID | FAILED -> RETURNED
(payout_submission, payout_reports or payout_decisions report it; payout_outcomes books it).
"""

from typing import NamedTuple

from dispatch.clock import Clock
from dispatch.events.alerts import AlertRaiser
from dispatch.money.payouts.decisions import DecisionStores, PayoutDecisions
from dispatch.money.payouts.outcomes import PayoutOutcomes
from dispatch.money.payouts.providers import NamedProvider
from dispatch.money.payouts.reports import PayoutReports
from dispatch.money.payouts.requests import PayoutRequests
from dispatch.money.payouts.submission import PayoutSubmitter
from ledger.posting.ledger import Ledger
from ledger.reporting.statements import Statements


class PayoutServices(NamedTuple):
    """What owners, operators, the worker and providers do with payouts."""

    requests: PayoutRequests
    decisions: PayoutDecisions
    submitter: PayoutSubmitter
    reports: PayoutReports


class PayoutBooks(NamedTuple):
    """Where payouts are booked and seen, and who is told when a booking was wrong."""

    statements: Statements
    ledger: Ledger
    raise_alert: AlertRaiser


def build_payout_services(
    stores: DecisionStores, books: PayoutBooks, provider: NamedProvider, clock: Clock
) -> PayoutServices:
    """The payout services of one node, which pays new payouts by `provider`."""
    payouts = stores.payouts
    outcomes = PayoutOutcomes(payouts, books.ledger, books.raise_alert, clock)
    submitter = PayoutSubmitter(payouts, outcomes, provider, clock)
    return PayoutServices(
        requests=PayoutRequests(payouts, books.statements, books.ledger, provider.name, clock),
        decisions=PayoutDecisions(stores, submitter.enqueue, clock),
        submitter=submitter,
        reports=PayoutReports(payouts, outcomes),
    )
