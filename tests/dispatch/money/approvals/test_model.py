"""Approvals: their states in time, and how operators see them."""

import pytest
from msgspec.structs import replace

from dispatch.money.approvals.acts import RemittanceAct
from dispatch.money.approvals.model import (
    APPROVAL_TTL_MS,
    Approval,
    ApprovalState,
    approval_view,
    create_approval,
    read_approval,
)

APPROVAL = Approval(
    approval_id="apr_1",
    act=RemittanceAct(rider_id="rdr_1", remittance_id="rem_1", amount=60_000, desk="cashdesk"),
    proposed_by="adm_1",
    created_at=1_000,
    expires_at=1_000 + APPROVAL_TTL_MS,
)


@pytest.mark.parametrize(
    ("state", "age_ms", "expected"),
    [
        ("PENDING", 0, "PENDING"),
        ("PENDING", APPROVAL_TTL_MS - 1, "PENDING"),
        ("PENDING", APPROVAL_TTL_MS, "EXPIRED"),
        ("APPROVED", APPROVAL_TTL_MS, "APPROVED"),
        ("REJECTED", APPROVAL_TTL_MS, "REJECTED"),
    ],
)
def test_a_day_without_a_decision_ends_an_approval(state: str, age_ms: int, expected: str):
    """A decided one keeps its state."""
    approval = replace(APPROVAL, approval_state=ApprovalState(state))
    assert approval.state_at(APPROVAL.created_at + age_ms).value == expected


def test_a_stored_approval_is_read_with_its_act():
    """The act that is carried out is the one that was proposed, field by field."""
    assert read_approval(create_approval(APPROVAL).item) == APPROVAL


def test_a_view_shows_what_would_be_done():
    """Action, resource, values and the end; fields without a value are left out."""
    assert approval_view(APPROVAL, 2_000) == {
        "approvalId": "apr_1",
        "status": "PENDING",
        "action": "record_remittance",
        "resource": "rider:rdr_1",
        "details": {
            "riderId": "rdr_1",
            "remittanceId": "rem_1",
            "amount": 60_000,
            "desk": "cashdesk",
        },
        "proposedBy": "adm_1",
        "createdAt": 1_000,
        "expiresAt": 1_000 + APPROVAL_TTL_MS,
    }
