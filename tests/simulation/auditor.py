"""The auditor: goes through everything that was left of a run and says which promises were broken.

He was written apart from the product and imports nothing of it: what clients saw and were told,
and the stores' raw items, are all he knows.
"""

from tests.simulation import events_audit, money_audit, orders_audit
from tests.simulation.evidence import Evidence, Violation


def find_violations(evidence: Evidence) -> list[Violation]:
    """All findings of a run, in a fixed order."""
    findings = [
        *orders_audit.audit(evidence),
        *events_audit.audit(evidence),
        *money_audit.audit(evidence),
    ]
    return list(dict.fromkeys(findings))
