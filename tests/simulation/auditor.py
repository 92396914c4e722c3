"""Auditor: checks the evidence of a run against the promises and reports every violation.

Independent of the product, of which it imports nothing: it knows only what clients sent and
received, and the stores' raw items.
"""

from tests.simulation import events_audit, money_audit, orders_audit, presence_audit
from tests.simulation.evidence import Evidence, Violation


def find_violations(evidence: Evidence) -> list[Violation]:
    """All violations of a run, in a fixed order."""
    violations = [
        *orders_audit.audit(evidence),
        *presence_audit.audit(evidence),
        *events_audit.audit(evidence),
        *money_audit.audit(evidence),
    ]
    return list(dict.fromkeys(violations))
