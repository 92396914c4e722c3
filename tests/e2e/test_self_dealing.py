"""A person who is shop, customer and riders at once reaches no payout."""

from pathlib import Path

import pytest

from tests.e2e.fleet import fleet
from tests.e2e.self_dealing import Defences, attack

VENDOR, RIDER = "VENDOR", "RIDER"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("defences", "result"),
    [
        # Invented phones, nobody deceived: the shop does not even open.
        (Defences(), "not_approved"),
        (Defences(has_phone=True), "not_approved"),
        # A real shop, and the same person as its customer, with invented riders.
        (Defences(frozenset({VENDOR}), has_phone=True), "not_approved"),
        # A real shop and real riders, and a customer with an invented phone.
        (Defences(frozenset({VENDOR, RIDER})), "phone_unverified"),
        # The attack itself works: whom the company approves and lends cash, it pays.
        (Defences(frozenset({VENDOR, RIDER}), has_phone=True), "payout"),
    ],
)
async def test_only_approved_people_reach_a_payout(tmp_path: Path, defences: Defences, result: str):
    """Each defence alone stops it; with none left it ends in a payout request."""
    async with fleet(tmp_path, ["all"]) as servers:
        assert await attack(servers, defences) == result


@pytest.mark.slow
async def test_without_accounts_nobody_registers(tmp_path: Path):
    """A company with its own identity service has no such door at all."""
    async with fleet(tmp_path, ["all"], ACCOUNTS="off") as servers:
        assert await attack(servers, Defences()) == "registration_closed"
