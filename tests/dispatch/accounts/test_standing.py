"""Standing rules: what each standing permits, at the write and in words."""

from typing import Any

import pytest

from dispatch.accounts.standing import (
    BARRED,
    TRANSITIONS,
    Standing,
    StandingRules,
    not_approved,
    standing_key,
)
from dispatch.errors import Refusal
from dispatch.settings import Approval
from dispatch.wire.http.base import OwnerType
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Check, Put, TransactionCancelled

pytestmark = pytest.mark.engines

S = Standing
NOTHING = "nothing stored"


async def passes(table: DynamoTable, check: Check) -> bool:
    """Whether a check lets its transaction go through."""
    try:
        await table.transact([check])
    except TransactionCancelled:
        return False
    return True


async def store(table: DynamoTable, user_type: OwnerType, **fields: Any) -> None:
    key = standing_key(user_type, "x_1")
    await table.transact([Put(item={"PK": key.pk, "SK": key.sk, **fields})])


@pytest.mark.parametrize(
    ("approval", "standings"),
    [
        ("accounts", {NOTHING, S.APPROVED}),
        ("all", {S.APPROVED}),
        ("off", {NOTHING, S.APPROVED, S.PENDING, S.UNDER_REVIEW}),
    ],
)
@pytest.mark.parametrize("user_type", ["USER", "VENDOR", "RIDER"])
async def test_only_these_standings_take_part(
    table: DynamoTable, approval: Approval, standings: set[str], user_type: OwnerType
):
    """The stored condition and `is_active` say the same for every standing and setting."""
    rules = StandingRules(approval)
    check = rules.check_active(user_type, "x_1")
    passed = {NOTHING: await passes(table, check)}
    for standing in Standing:
        await store(table, user_type, standing=standing.value)
        passed[standing] = await passes(table, check)
    assert {each for each, is_active in passed.items() if is_active} == standings
    assert {each for each in Standing if rules.is_active(each)} == standings - {NOTHING}
    assert rules.is_active(None) is (NOTHING in standings)


@pytest.mark.parametrize(
    ("fields", "refusal", "details"),
    [
        (
            {"standing": "SUSPENDED", "reason": "fraud"},
            Refusal.NOT_APPROVED,
            {"standing": "SUSPENDED", "reason": "fraud"},
        ),
        ({"standing": "PENDING"}, Refusal.NOT_APPROVED, {"standing": "PENDING", "reason": ""}),
        ({"standing": "APPROVED", "walletStatus": "FROZEN"}, Refusal.FORBIDDEN, None),
        ({"walletStatus": "CLOSED"}, Refusal.FORBIDDEN, None),
        ({"standing": "APPROVED", "registeredAt": 1}, Refusal.PHONE_UNVERIFIED, None),
    ],
)
async def test_a_failed_check_says_why(
    table: DynamoTable,
    fields: dict[str, Any],
    refusal: Refusal,
    details: dict[str, str] | None,
):
    """The refusal is made of the item that the condition met."""
    rules = StandingRules()
    await store(table, "USER", **fields)
    with pytest.raises(TransactionCancelled) as cancelled:
        await table.transact([rules.check_active("USER", "x_1")])
    refused = rules.refusal(cancelled.value.reasons[0].item)
    assert (refused.code, refused.details) == (refusal, details)


@pytest.mark.parametrize(
    "fields",
    [
        {"standing": "APPROVED", "registeredAt": 1, "phoneVerifiedAt": 2},
        {"sessionsValidFrom": 5},
        {"walletStatus": "ACTIVE"},
    ],
)
async def test_other_facts_do_not_matter(table: DynamoTable, fields: dict[str, Any]):
    """A person whose sign-ins were ended once, or whose wallet was frozen, takes part again."""
    await store(table, "USER", **fields)
    assert await passes(table, StandingRules().check_active("USER", "x_1"))


@pytest.mark.parametrize("user_type", ["VENDOR", "RIDER"])
async def test_only_customers_prove_their_phones(table: DynamoTable, user_type: OwnerType):
    """An operator has approved the others."""
    await store(table, user_type, standing="APPROVED", registeredAt=1)
    assert await passes(table, StandingRules().check_active(user_type, "x_1"))


async def test_barred_people_do_not_sign_in(table: DynamoTable):
    """Those who wait for approval, or were rejected, may sign in and read why."""
    check = StandingRules().check_admitted("RIDER", "x_1")
    assert await passes(table, check)
    admitted: dict[Standing, bool] = {}
    for standing in Standing:
        await store(table, "RIDER", standing=standing.value)
        admitted[standing] = await passes(table, check)
    barred = {standing for standing, may_sign_in in admitted.items() if not may_sign_in}
    assert barred == BARRED == {S.SUSPENDED, S.CLOSED}


async def test_an_ended_sign_in_is_not_renewed(table: DynamoTable):
    """Only those that started before the end."""
    await store(table, "USER", sessionsValidFrom=100)
    rules = StandingRules()
    good = [await passes(table, rules.check_admitted("USER", "x_1", at)) for at in (99, 100)]
    assert good == [False, True]


@pytest.mark.parametrize(
    ("approval", "user_type", "initial"),
    [
        ("accounts", "RIDER", S.PENDING),
        ("accounts", "VENDOR", S.PENDING),
        ("accounts", "USER", S.APPROVED),
        ("all", "RIDER", S.PENDING),
        ("all", "USER", S.APPROVED),
        ("off", "VENDOR", S.APPROVED),
    ],
)
def test_a_new_account_has_its_first_standing(
    approval: Approval, user_type: OwnerType, initial: Standing
):
    """Vendors and riders wait, unless nobody is held for approval."""
    assert StandingRules(approval).initial(user_type) is initial


def test_every_standing_can_be_left():
    """Nobody is stuck, and no standing leads to itself."""
    assert TRANSITIONS.keys() == set(Standing)
    assert all(after and before not in after for before, after in TRANSITIONS.items())


def test_a_refusal_names_the_person():
    """An operator reads an id, the person itself reads `you`."""
    assert not_approved(S.PENDING, "").message == "you are not approved: PENDING"
    assert not_approved(S.CLOSED, "", "rdr_1").message == "rdr_1 is not approved: CLOSED"
