"""Sign-ins: only the newest refresh token renews one, with a grace period for lost responses."""

import asyncio

import pytest

from dispatch.accounts.sign_ins import GRACE_MS, RefreshTokenReused, SignIn, SignIns
from dispatch.accounts.store import Account, Accounts, Login, NewCredentials
from dispatch.clock import ManualClock
from ledger.dynamodb.client import DynamoTable

LOGIN = Login("USER", "+237670000001")


@pytest.fixture
def sign_ins(table: DynamoTable, clock: ManualClock) -> SignIns:
    return SignIns(table, clock)


@pytest.fixture
async def account(accounts: Accounts) -> Account:
    made = await accounts.create(LOGIN, NewCredentials(password_hash="hash"))
    assert made is not None
    return made


@pytest.fixture
async def sign_in(sign_ins: SignIns, account: Account) -> SignIn:
    return await sign_ins.begin(LOGIN, account)


async def test_renewals_are_counted(sign_ins: SignIns, sign_in: SignIn, clock: ManualClock):
    """Each renewal is the next generation, with its time."""
    for number in range(3):
        clock.advance(60_000)
        renewed = await sign_ins.renew(sign_in.sign_in_id, number)
        assert renewed is not None
        assert (renewed.generation, renewed.renewed_at) == (number + 1, clock.now_ms())
        assert await sign_ins.find(sign_in.sign_in_id) == renewed


async def test_concurrent_copies_renew_once(sign_ins: SignIns, sign_in: SignIn):
    """Ten copies of one renewal all get the same next generation."""
    renewed = await asyncio.gather(*(sign_ins.renew(sign_in.sign_in_id, 0) for _ in range(10)))
    assert {each.generation for each in renewed if each} == {1}
    assert None not in renewed


async def test_lost_response_can_be_repeated(
    sign_ins: SignIns, sign_in: SignIn, clock: ManualClock
):
    """The token before the newest gets the newest again for ten seconds."""
    first = await sign_ins.renew(sign_in.sign_in_id, 0)
    clock.advance(GRACE_MS)
    assert await sign_ins.renew(sign_in.sign_in_id, 0) == first


async def test_old_token_is_reuse(sign_ins: SignIns, sign_in: SignIn, clock: ManualClock):
    """The token before the newest after the grace period, and any older one, is a reuse."""
    await sign_ins.renew(sign_in.sign_in_id, 0)
    clock.advance(GRACE_MS + 1)
    with pytest.raises(RefreshTokenReused) as reused:
        await sign_ins.renew(sign_in.sign_in_id, 0)
    assert reused.value.sign_in.sign_in_id == sign_in.sign_in_id
    await sign_ins.renew(sign_in.sign_in_id, 1)
    with pytest.raises(RefreshTokenReused):
        await sign_ins.renew(sign_in.sign_in_id, 0)


async def test_ended_sign_in_is_not_renewed(sign_ins: SignIns, sign_in: SignIn):
    """An ended sign-in, an unknown one, and a generation from the future are not renewed."""
    assert await sign_ins.renew(sign_in.sign_in_id, 5) is None
    await sign_ins.end(sign_in.sign_in_id)
    await sign_ins.end(sign_in.sign_in_id)
    assert await sign_ins.renew(sign_in.sign_in_id, 0) is None
    assert await sign_ins.find(sign_in.sign_in_id) is None


async def test_changed_password_ends_sign_ins(
    sign_ins: SignIns, sign_in: SignIn, account: Account, accounts: Accounts, clock: ManualClock
):
    """A sign-in from before a change of the password is not renewed, not in the grace period."""
    assert await sign_ins.renew(sign_in.sign_in_id, 0) is not None
    clock.advance(1_000)
    changed = await accounts.verify_phone(LOGIN, account, NewCredentials(password_hash="new"))
    assert await sign_ins.renew(sign_in.sign_in_id, 1) is None
    assert await sign_ins.renew(sign_in.sign_in_id, 0) is None
    later = await sign_ins.begin(LOGIN, changed)
    assert await sign_ins.renew(later.sign_in_id, 0) is not None
