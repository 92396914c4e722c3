"""The sandbox and the manual provider answer as developers and operators expect."""

import pytest

from dispatch.money.payouts.providers import (
    SANDBOX_FAILS_DIGITS,
    SANDBOX_WAITS_DIGITS,
    ManualProvider,
    ProviderStatus,
    SandboxProvider,
)
from ledger.records.payouts import Payout


def payout(destination: str) -> Payout:
    return Payout(
        payout_id="pout_1",
        owner_type="VENDOR",
        owner_id="ven_1",
        amount=60_000,
        destination=destination,
        provider="sandbox",
        requested_by="ven_1",
        created_at=1,
        updated_at=1,
    )


@pytest.mark.parametrize(
    ("destination", "status"),
    [
        ("+237 670", ProviderStatus.PAID),
        (SANDBOX_FAILS_DIGITS, ProviderStatus.FAILED),
        (SANDBOX_WAITS_DIGITS, ProviderStatus.UNKNOWN),
    ],
)
async def test_the_destination_chooses_what_the_sandbox_does(
    destination: str, status: ProviderStatus
):
    """It pays at once, refuses, or leaves the outcome open."""
    assert (await SandboxProvider().submit(payout(destination), "ref_1")).status is status


async def test_the_sandbox_pays_an_open_payout_at_the_first_question():
    """An open payout is paid when it is polled; an unknown reference is not found."""
    sandbox, waiting = SandboxProvider(), payout(SANDBOX_WAITS_DIGITS)
    await sandbox.submit(waiting, "ref_1")
    assert (await sandbox.check_status(waiting, "ref_1")).status is ProviderStatus.PAID
    assert (await sandbox.check_status(waiting, "ref_2")).status is ProviderStatus.NOT_FOUND


async def test_the_manual_provider_leaves_the_outcome_open():
    """Submitted or polled, a payout waits for the operator."""
    manual = ManualProvider()
    assert (await manual.submit(payout("x"), "ref_1")).status is ProviderStatus.UNKNOWN
    assert (await manual.check_status(payout("x"), "ref_1")).status is ProviderStatus.UNKNOWN
