"""Account store: one account per login, bounded attempts, and codes that are valid once."""

import asyncio

from dispatch.accounts.store import (
    Account,
    Accounts,
    Login,
    NewCredentials,
)
from dispatch.catalogue.store import Catalogue
from dispatch.clock import ManualClock
from dispatch.riders.store import Riders
from ledger.dynamodb.client import DynamoTable

LOGIN = Login("USER", "+237670000001")


async def create(accounts: Accounts, login: Login = LOGIN, **credentials: object) -> Account:
    account = await accounts.create(login, NewCredentials(**credentials))  # type: ignore[arg-type]
    assert account is not None
    return account


async def test_account_is_found_by_its_login(accounts: Accounts):
    """A created account is found under its role and phone, not under another role."""
    created = await create(accounts, password_hash="hash")
    assert await accounts.find(LOGIN) == created
    assert await accounts.find(Login("RIDER", LOGIN.phone)) is None


async def test_login_has_one_account(accounts: Accounts):
    """Of ten concurrent creations one succeeds, and its account stays."""
    made = await asyncio.gather(*(accounts.create(LOGIN, NewCredentials()) for _ in range(10)))
    [account] = [each for each in made if each is not None]
    assert await accounts.find(LOGIN) == account


async def test_riders_and_vendors_get_a_profile(
    accounts: Accounts, table: DynamoTable, clock: ManualClock
):
    """The profile of a new rider or vendor has its name and phone."""
    rider = await create(accounts, Login("RIDER", "+237670000002"), name="Awa")
    vendor = await create(accounts, Login("VENDOR", "+237670000003"), name="Chez Ada")
    rider_profile = await Riders(table, clock).profile(rider.user_id)
    vendor_profile = await Catalogue(table, clock).vendor(vendor.user_id)
    assert rider_profile is not None
    assert vendor_profile is not None
    assert (rider_profile.name, rider_profile.phone) == ("Awa", "+237670000002")
    assert (vendor_profile.name, vendor_profile.phone) == ("Chez Ada", "+237670000003")


async def test_first_verification_drops_an_unverified_password(
    accounts: Accounts, clock: ManualClock
):
    """A password set before the phone was verified is dropped, and its sign-ins end."""
    created = await create(accounts, password_hash="of somebody")
    clock.advance(1_000)
    verified = await accounts.verify_phone(LOGIN, created, NewCredentials())
    assert verified.password_hash is None
    assert verified.phone_verified_at == clock.now_ms()
    assert verified.sessions_valid_from == clock.now_ms()
    assert await accounts.find(LOGIN) == verified


async def test_later_verification_keeps_the_password(accounts: Accounts, clock: ManualClock):
    """The password of a verified account stays, its sign-ins too, until a new one is set."""
    created = await create(accounts, password_hash="old", is_phone_verified=True)
    clock.advance(1_000)
    kept = await accounts.verify_phone(LOGIN, created, NewCredentials())
    assert kept == created
    changed = await accounts.verify_phone(LOGIN, kept, NewCredentials(password_hash="new"))
    assert changed.password_hash == "new"
    assert changed.sessions_valid_from == clock.now_ms()
    assert changed.phone_verified_at == created.phone_verified_at
    assert await accounts.find(LOGIN) == changed
