"""Account endpoints: register, sign in by password and by code, refresh tokens, sign out."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from argon2 import PasswordHasher

from dispatch import settings
from dispatch.accounts.attempts import FAILURES_MAX, LOCKOUT_MS
from dispatch.accounts.codes import CODE_TTL_MS
from dispatch.accounts.sign_ins import GRACE_MS
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients
from handlers.sessions.barred_identities import BarredIdentities
from handlers.sessions.revocation_cache import RevocationCache
from ledger.dynamodb.client import DynamoTable
from tests.handlers.http_api import (
    ADMIN,
    Actor,
    ApiClient,
    ApiResponse,
    goods_order,
    run_api,
)

pytestmark = pytest.mark.engines

ADA = {"userType": "USER", "phone": "+237 600 000 001"}
PASSWORD = "correct horse"


async def register(api: ApiClient, **changes: Any) -> ApiResponse:
    return await api.request(None, "POST /auth/register", {**ADA, "password": PASSWORD, **changes})


async def sign_in(api: ApiClient, **changes: Any) -> ApiResponse:
    return await api.request(None, "POST /auth/login", {**ADA, "password": PASSWORD, **changes})


async def renew(api: ApiClient, token: str) -> ApiResponse:
    return await api.request(None, "POST /auth/refresh", {"refreshToken": token})


async def request_code(api: ApiClient, **changes: Any) -> str:
    asked = await api.request(None, "POST /auth/otp/request", {**ADA, **changes})
    return asked.data["devCode"]


async def verify_code(api: ApiClient, digits: str, **changes: Any) -> ApiResponse:
    return await api.request(None, "POST /auth/otp/verify", {**ADA, "code": digits, **changes})


def wrong_code(digits: str) -> str:
    return f"{(int(digits) + 1) % 1_000_000:06d}"


def status_and_code(answer: ApiResponse) -> tuple[int, str | None]:
    return answer.status, answer.error and answer.error["code"]


async def balance_status(api: ApiClient, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return (await api.request_raw("GET", "/wallet/balance", headers)).status


# Registration and sign-in by password.


async def test_registering_signs_in(api: ApiClient):
    """The access token is valid, and the password signs in to the same account."""
    made = await register(api)
    again = await sign_in(api)
    assert (made.status, again.status) == (201, 200)
    assert made.data["userId"] == again.data["userId"]
    assert made.data["userId"].startswith("usr_")
    assert [await balance_status(api, one.data["accessToken"]) for one in (made, again)] == [
        200,
        200,
    ]


async def test_a_repeated_registration_signs_in(api: ApiClient):
    """With the same password it gets the same account; with another one it is a conflict."""
    first, second = await register(api), await register(api)
    assert (second.status, second.data["userId"]) == (201, first.data["userId"])
    assert status_and_code(await register(api, password="something else")) == (409, "conflict")


async def test_concurrent_registrations_make_one_account(api: ApiClient):
    """Five copies of a request at once get the same user id."""
    made = await asyncio.gather(*(register(api) for _ in range(FAILURES_MAX)))
    assert len({answer.data["userId"] for answer in made}) == 1


async def test_every_notation_of_a_phone_is_one_account(api: ApiClient):
    """Registering, signing in and both steps of a code read one number in each notation."""
    code = await request_code(api, phone="690123456")
    made = await verify_code(api, code, phone="690 123 456", password=PASSWORD)
    for phone in ("+237690123456", "00237690123456", "237 690-12.34(56)", "\u202a690123456\u202c"):
        by_password = await sign_in(api, phone=phone)
        by_code = await verify_code(api, await request_code(api, phone=phone), phone="690123456")
        again = await register(api, phone=phone)
        assert {each.data["userId"] for each in (by_password, by_code, again)} == {
            made.data["userId"]
        }


@pytest.mark.parametrize(
    ("phone", "kind"),
    [
        ("0690123456", "phone"), ("+2370690123456", "phone"), ("+691000000", "phone"),
        ("+()+()+()", "phone"), ("+237222123456", "mobile"),
    ],
)  # fmt: skip
async def test_a_number_that_receives_no_code_is_no_login(api: ApiClient, phone: str, kind: str):
    """No endpoint takes it, and the message shows a number that they take."""
    code = {**ADA, "phone": phone, "code": "123456"}
    answers = [
        await register(api, phone=phone),
        await sign_in(api, phone=phone),
        await api.request(None, "POST /auth/otp/request", {**ADA, "phone": phone}),
        await api.request(None, "POST /auth/otp/verify", code),
    ]
    message = f"`phone` must be a {kind} number such as +237671234567"
    assert [(a.status, a.error) for a in answers] == [
        (400, {"code": "malformed", "message": message})
    ] * 4


async def test_each_role_has_an_account_of_its_own(api: ApiClient):
    """The same phone has three accounts; operators cannot register."""
    made = [await register(api, userType=kind) for kind in ("USER", "VENDOR", "RIDER")]
    assert len({answer.data["userId"] for answer in made}) == 3
    assert (await register(api, userType="ADMIN")).status == 400


async def test_registering_fills_the_profile(api: ApiClient):
    """The rider's profile has the name and the phone of the registration."""
    made = await register(api, userType="RIDER", name="Awa")
    who = ("RIDER", made.data["userId"])
    profile = (await api.request(who, "GET /rider/profile")).data
    assert (profile["name"], profile["phone"]) == ("Awa", "+237600000001")


@pytest.mark.dynamodb_engine
async def test_a_wrong_password_and_no_account_look_the_same(api: ApiClient, table: DynamoTable):
    """The same answer, the same calls to DynamoDB, and one password hash each."""
    await register(api)
    answers = []
    for phone in (ADA["phone"], "+237600000009"):
        with counted_calls(table) as calls:
            answer = await sign_in(api, phone=phone, password="wrong horse")
        answers.append((status_and_code(answer), answer.error["message"], calls))
    assert answers[0] == answers[1]
    assert answers[0][0] == (401, "wrong_credentials")
    assert answers[0][2].count("hash") == 1
    assert len(answers[0][2]) > 1


@contextmanager
def counted_calls(table: DynamoTable) -> Iterator[list[str]]:
    """The DynamoDB operations inside the block, and "hash" for each verified password."""
    calls: list[str] = []
    verify = PasswordHasher.verify

    def record_operation(model: Any, **_options: Any) -> None:
        calls.append(model.name)

    def record_hash(hasher: PasswordHasher, stored_hash: str, password: str) -> bool:
        calls.append("hash")
        return verify(hasher, stored_hash, password)

    events = table.client.meta.events
    events.register("before-call.dynamodb", record_operation)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PasswordHasher, "verify", record_hash)
            yield calls
    finally:
        events.unregister("before-call.dynamodb", record_operation)


@pytest.mark.parametrize("phone", [ADA["phone"], "+237600000009"])
async def test_five_failures_lock_a_login(api: ApiClient, phone: str):
    """The right password is refused too for a quarter of an hour, with and without an account."""
    await register(api)
    wrong = [await sign_in(api, phone=phone, password="wrong horse") for _ in range(FAILURES_MAX)]
    locked = await sign_in(api, phone=phone)
    assert {status_and_code(answer) for answer in wrong} == {(401, "wrong_credentials")}
    assert status_and_code(locked) == (429, "rate_limited")
    assert locked.error["details"] == {"retryAfterMs": LOCKOUT_MS}
    api.clock.advance(LOCKOUT_MS)
    assert (await sign_in(api, phone=phone)).status in (200, 401)


async def test_failed_registrations_count_as_failures(api: ApiClient):
    """Guesses count wherever a password is checked."""
    await register(api)
    for _ in range(FAILURES_MAX):
        await register(api, password="wrong horse")
    assert status_and_code(await sign_in(api)) == (429, "rate_limited")


async def test_a_successful_sign_in_resets_the_failures(api: ApiClient):
    """Four failures before each success never lock."""
    await register(api)
    for _ in range(3):
        for _ in range(FAILURES_MAX - 1):
            assert (await sign_in(api, password="wrong horse")).status == 401
        assert (await sign_in(api)).status == 200


@pytest.mark.dynamodb_engine
async def test_concurrent_guesses_are_counted(api: ApiClient, table: DynamoTable):
    """Of thirty at the same moment only five passwords are checked."""
    await register(api)
    with counted_calls(table) as calls:
        guesses = (sign_in(api, password=f"guess {number:03d}") for number in range(30))
        answers = [status_and_code(answer) for answer in await asyncio.gather(*guesses)]
    assert calls.count("hash") == FAILURES_MAX
    assert sorted(answers)[:FAILURES_MAX] == [(401, "wrong_credentials")] * FAILURES_MAX
    assert set(answers[FAILURES_MAX:]) <= {(429, "rate_limited"), (401, "wrong_credentials")}


async def test_a_password_has_at_least_eight_characters(api: ApiClient):
    """A shorter one is malformed, and no account is created."""
    assert status_and_code(await register(api, password="seven77")) == (400, "malformed")
    assert (await sign_in(api)).status == 401


@pytest.mark.dynamodb_engine
async def test_passwords_are_stored_as_argon2id_hashes(api: ApiClient, table: DynamoTable):
    """With at least 19 MiB and two iterations (OWASP); the password itself is not stored."""
    await register(api)
    everything = str((await table.client.scan(TableName=table.name))["Items"])
    found = re.findall(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$", everything)
    assert [(int(m) >= 19 * 1024, int(t) >= 2, p) for m, t, p in found] == [(True, True, "1")]
    assert PASSWORD not in everything


# Refresh tokens and sign-out.


async def test_each_refresh_returns_the_next_tokens(api: ApiClient):
    """Each answer holds a new refresh token and a valid access token."""
    first = (await register(api)).data
    second = (await renew(api, first["refreshToken"])).data
    third = (await renew(api, second["refreshToken"])).data
    assert len({each["refreshToken"] for each in (first, second, third)}) == 3
    assert await balance_status(api, third["accessToken"]) == 200


async def test_a_refresh_may_be_repeated_within_the_grace_time(api: ApiClient):
    """An app that lost the answer gets tokens again, and its sign-in goes on."""
    first = (await register(api)).data
    await renew(api, first["refreshToken"])
    api.clock.advance(GRACE_MS)
    again = (await renew(api, first["refreshToken"])).data
    assert (await renew(api, again["refreshToken"])).status == 200


async def test_concurrent_refreshes_are_one_renewal(api: ApiClient):
    """Twenty copies at once all get the tokens of the same renewal."""
    first = (await register(api)).data
    copies = await asyncio.gather(*(renew(api, first["refreshToken"]) for _ in range(20)))
    assert {answer.status for answer in copies} == {200}
    turns = {api.tokens.read_refresh(c.data["refreshToken"], api.clock.now_ms()) for c in copies}
    assert {turn.renewal_count for turn in turns} == {1}


async def test_a_reused_refresh_token_ends_the_sign_in(api: ApiClient):
    """After the grace time neither holder goes on, and access tokens are revoked."""
    first = (await register(api)).data
    second = (await renew(api, first["refreshToken"])).data
    api.clock.advance(GRACE_MS + 1)
    assert status_and_code(await renew(api, first["refreshToken"])) == (401, "token_invalid")
    assert status_and_code(await renew(api, second["refreshToken"])) == (401, "token_invalid")
    assert await is_revoked_now(api, second["accessToken"])


async def is_revoked_now(api: ApiClient, token: str) -> bool:
    """Whether a node that reads the revocations now refuses an access token."""
    cache = RevocationCache(
        api.services.revocations,
        PubSub(api.redis),
        api.clock,
        BarredIdentities(api.services.people),
    )
    await cache.refresh()
    return cache.is_revoked(api.tokens.read(token, api.clock.now_ms()))


async def test_access_and_refresh_tokens_are_not_interchangeable(api: ApiClient):
    """A refresh token opens no endpoint, and an access token cannot be refreshed."""
    made = (await register(api)).data
    assert await balance_status(api, made["refreshToken"]) == 401
    assert status_and_code(await renew(api, made["accessToken"])) == (401, "token_invalid")
    assert status_and_code(await renew(api, "hello")) == (401, "token_invalid")


async def test_a_sign_in_ends_a_month_after_its_last_use(api: ApiClient):
    """The refresh token has expired by then."""
    made = (await register(api)).data
    api.clock.advance(30 * 86_400_000)
    assert status_and_code(await renew(api, made["refreshToken"])) == (401, "token_expired")


async def test_sign_out_ends_one_sign_in(api: ApiClient):
    """Its tokens are refused, another device's are not, and a repeat is no error."""
    phone, tablet = (await register(api)).data, (await sign_in(api)).data
    gone = [
        await api.request(None, "POST /auth/logout", {"refreshToken": phone["refreshToken"]})
        for _ in range(2)
    ]
    assert [answer.status for answer in gone] == [200, 200]
    assert status_and_code(await renew(api, phone["refreshToken"])) == (401, "token_invalid")
    assert await is_revoked_now(api, phone["accessToken"])
    assert not await is_revoked_now(api, tablet["accessToken"])
    assert (await renew(api, tablet["refreshToken"])).status == 200


# Sign-in by code.


async def test_a_code_signs_in_with_and_without_an_account(api: ApiClient):
    """The first code creates an account, the second signs in to it."""
    new = await verify_code(api, await request_code(api))
    again = await verify_code(api, await request_code(api))
    assert (new.status, again.status) == (201, 200)
    assert new.data["userId"] == again.data["userId"]


async def test_a_code_works_once(api: ApiClient):
    """Its second use is refused."""
    digits = await request_code(api)
    assert (await verify_code(api, digits)).status == 201
    assert status_and_code(await verify_code(api, digits)) == (401, "wrong_credentials")


async def test_a_code_has_five_tries(api: ApiClient):
    """After five wrong codes from one network the right one has to wait a quarter of an hour."""
    digits = await request_code(api)
    for _ in range(5):
        assert (await verify_code(api, wrong_code(digits))).status == 401
    late = await verify_code(api, digits)
    assert status_and_code(late) == (429, "rate_limited")
    assert late.error["details"] == {"retryAfterMs": LOCKOUT_MS}


async def test_concurrent_guesses_of_a_code_are_counted(api: ApiClient):
    """After fifty wrong codes at the same moment the right one is refused."""
    digits = await request_code(api)
    guesses = [verify_code(api, wrong_code(digits)) for _ in range(50)]
    answers = await asyncio.gather(*guesses)
    assert sorted({answer.status for answer in answers}) == [401, 429]
    assert [answer.status for answer in answers].count(401) == 5
    assert (await verify_code(api, digits)).status == 429


async def test_a_code_expires(api: ApiClient):
    """It is sent again for half of its life, valid beside the next one, and refused at its end."""
    first, again = await request_code(api), await request_code(api)
    api.clock.advance(CODE_TTL_MS // 2 + 1)
    second = await request_code(api)
    assert first == again
    assert first != second
    assert (await verify_code(api, first)).status == 201
    assert (await verify_code(api, second)).status == 401
    late = await request_code(api)
    api.clock.advance(CODE_TTL_MS)
    assert (await verify_code(api, late)).status == 401


async def test_a_code_belongs_to_one_login(api: ApiClient):
    """A customer's code does not sign in to the rider's account of the same phone."""
    digits = await request_code(api)
    assert (await verify_code(api, digits, userType="RIDER")).status == 401


async def test_a_code_may_replace_the_password(api: ApiClient):
    """All earlier sign-ins end and their access tokens are revoked; the new one stays."""
    await verify_code(api, await request_code(api), password=PASSWORD)
    intruder = (await sign_in(api)).data
    api.clock.advance(2_000)
    owner = (await verify_code(api, await request_code(api), password="a new battery")).data
    assert status_and_code(await renew(api, intruder["refreshToken"])) == (401, "token_invalid")
    assert await is_revoked_now(api, intruder["accessToken"])
    assert not await is_revoked_now(api, owner["accessToken"])
    assert (await renew(api, owner["refreshToken"])).status == 200
    assert [(await sign_in(api)).status, (await sign_in(api, password="a new battery")).status] == [
        401, 200,
    ]  # fmt: skip


async def test_a_first_code_removes_an_unverified_password(api: ApiClient):
    """The holder of the phone gets the account of a squatter, without the squatter's password."""
    squatter = (await register(api)).data
    api.clock.advance(2_000)
    owner = (await verify_code(api, await request_code(api))).data
    assert owner["userId"] == squatter["userId"]
    assert status_and_code(await sign_in(api)) == (401, "wrong_credentials")
    assert status_and_code(await renew(api, squatter["refreshToken"])) == (401, "token_invalid")


async def test_a_code_keeps_a_verified_password(api: ApiClient):
    """Signing in by code ends no sign-in and changes no password."""
    await verify_code(api, await request_code(api), password=PASSWORD)
    phone = (await sign_in(api)).data
    await verify_code(api, await request_code(api))
    assert (await renew(api, phone["refreshToken"])).status == 200
    assert (await sign_in(api)).status == 200


async def test_codes_need_a_gateway_in_production(production_api: ApiClient):
    """Without one they are a disabled service, and never returned."""
    asked = await production_api.request(None, "POST /auth/otp/request", ADA)
    assert status_and_code(asked) == (503, "service_disabled")


@pytest.mark.dynamodb_engine
async def test_a_code_is_not_stored(api: ApiClient, table: DynamoTable):
    """The table does not hold its digits."""
    digits = await request_code(api)
    everything = str((await table.client.scan(TableName=table.name))["Items"])
    assert "CODE" in everything
    assert digits not in everything


# Who may register, and what a new account may do.


@pytest.mark.parametrize(
    ("setting", "roles"),
    [({"ACCOUNTS": "off"}, set()), ({"ACCOUNTS": "users"}, {"USER"}), ({}, {"USER"}),
     ({"ACCOUNTS": "all"}, {"USER", "VENDOR", "RIDER"})],
)  # fmt: skip
async def test_only_some_roles_register_here(
    table: DynamoTable, redis: RedisClients, setting: dict[str, str], roles: set[str]
):
    """Without --dev only customers, unless the operator says more."""
    environ = {"JWT_SECRET": "s" * 32, **setting}
    async with run_api(table, redis, settings.read(environ)) as api:
        answers = {
            role: status_and_code(await register(api, userType=role))
            for role in ("USER", "VENDOR", "RIDER")
        }
    refused = (403, "registration_closed")
    expected = {role: (201, None) if role in roles else refused for role in answers}
    assert answers == expected


async def test_a_code_makes_no_account_of_a_closed_role(table: DynamoTable, redis: RedisClients):
    """An account that exists signs in by code whatever the setting is."""
    opened = settings.read({"RATE_LIMITS": "off", "ACCOUNTS": "all"}, dev=True)
    async with run_api(table, redis, opened) as api:
        assert (await register(api, userType="RIDER")).status == 201
    closed = settings.read({"RATE_LIMITS": "off", "ACCOUNTS": "users"}, dev=True)
    async with run_api(table, redis, closed) as api:
        old = await verify_code(api, await request_code(api, userType="RIDER"), userType="RIDER")
        other = {"userType": "RIDER", "phone": "+237600000002"}
        new = await verify_code(api, await request_code(api, **other), **other)
    assert old.status == 200
    assert status_and_code(new) == (403, "registration_closed")


async def test_a_customer_orders_once_the_phone_is_proven(api: ApiClient):
    """Until then orders, cash or paid, are refused, and with them every promotion."""
    await api.open_shop()
    customer: Actor = ("USER", (await register(api)).data["userId"])
    await api.fund(customer, 50_000)
    for method in ("CASH", "WALLET", "MOBILE_MONEY"):
        order = await api.request(customer, "POST /orders", goods_order(method=method))
        assert status_and_code(order) == (403, "phone_unverified")
    await verify_code(api, await request_code(api))
    order = await api.request(customer, "POST /orders", goods_order(method="CASH"))
    assert order.status == 201


@pytest.mark.parametrize("step", ["login", "otp"])
async def test_a_suspended_person_does_not_sign_in(api: ApiClient, step: str):
    """The refusal has standing and reason; a wrong password still gets no further answer."""
    user_id = (await register(api)).data["userId"]
    body = {"standing": "SUSPENDED", "reason": "fraud"}
    await api.request(ADMIN, f"POST /admin/users/{user_id}/standing", body)
    assert status_and_code(await sign_in(api, password="wrong horse")) == (401, "wrong_credentials")
    answer = (
        await sign_in(api) if step == "login" else await verify_code(api, await request_code(api))
    )
    assert status_and_code(answer) == (403, "not_approved")
    assert answer.error["details"] == {"standing": "SUSPENDED", "reason": "fraud"}
