"""The payout provider that the settings choose."""

import pytest

from dispatch import settings
from dispatch.clock import ManualClock
from handlers.app.setup.money import payout_provider

GATEWAY = {
    "PAYOUT_URL": "https://bank.example/payouts",
    "PAYOUT_PROVIDER": "bank",
    "PAYOUT_URL_SECRET": "whsec_" + "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",
}


@pytest.mark.parametrize(
    ("environ", "dev", "name"),
    [
        (GATEWAY, False, "bank"),
        (GATEWAY, True, "bank"),
        ({}, True, "sandbox"),
        ({}, False, "manual"),
    ],
)
def test_a_gateway_wins_over_the_sandbox_and_the_operator(
    environ: dict[str, str], dev: bool, name: str
):
    """Without a gateway --dev has the sandbox, and production an operator who pays by hand."""
    ours = settings.read({"JWT_SECRET": "s" * 32, **environ}, dev=dev)
    assert payout_provider(ours, ManualClock())[0] == name
