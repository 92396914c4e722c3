"""Accounts: registering, signing in by password and by code, staying signed in, and going."""

import asyncio
import re
from contextlib import contextmanager
from typing import Any

import pytest

from dispatch.accounts.sign_ins import GRACE_MS
from dispatch.accounts.store import CODE_TTL_MS, FAILURES_MAX, LOCKOUT_MS
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients
from handlers.sessions.revocation_cache import RevocationCache
from ledger.dynamodb.client import DynamoTable
from tests.handlers.http_api import ApiClient, ApiResponse

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


# By password.


async def test_whoever_registers_is_signed_in(api: ApiClient):
    """The token opens what is his, and he comes in again by his password."""
    made = await register(api)
    again = await sign_in(api)
    assert (made.status, again.status) == (201, 200)
    assert made.data["userId"] == again.data["userId"]
    assert made.data["userId"].startswith("usr_")
    assert [await balance_status(api, one.data["accessToken"]) for one in (made, again)] == [
        200,
        200,
    ]


async def test_a_registration_is_said_twice(api: ApiClient):
    """Its answer was lost: the same password is let in, another one is told nothing but no."""
    first, second = await register(api), await register(api)
    assert (second.status, second.data["userId"]) == (201, first.data["userId"])
    assert status_and_code(await register(api, password="something else")) == (409, "conflict")


async def test_copies_of_a_registration_make_one_account(api: ApiClient):
    """An app that sends it five times at once has one account."""
    made = await asyncio.gather(*(register(api) for _ in range(FAILURES_MAX)))
    assert len({answer.data["userId"] for answer in made}) == 1


async def test_a_phone_is_one_however_it_is_written(api: ApiClient):
    """Spaces and brackets are no other person."""
    made = await register(api)
    again = await sign_in(api, phone="237(600)000-001")
    assert again.data["userId"] == made.data["userId"]
    assert status_and_code(await sign_in(api, phone="+()+()+()")) == (400, "malformed")


async def test_each_role_has_an_account_of_its_own(api: ApiClient):
    """A rider who orders his lunch is two people; operators are none of them."""
    made = [await register(api, userType=kind) for kind in ("USER", "VENDOR", "RIDER")]
    assert len({answer.data["userId"] for answer in made}) == 3
    assert (await register(api, userType="ADMIN")).status == 400


async def test_a_name_is_in_the_profile(api: ApiClient):
    """Riders and vendors begin with what they said."""
    made = await register(api, userType="RIDER", name="Awa")
    who = ("RIDER", made.data["userId"])
    profile = (await api.request(who, "GET /rider/profile")).data
    assert (profile["name"], profile["phone"]) == ("Awa", "+237600000001")


async def test_a_wrong_password_and_no_account_are_the_same(api: ApiClient, table: DynamoTable):
    """The same words, the same calls to the store, and one hash each."""
    await register(api)
    heard = []
    for phone in (ADA["phone"], "+237600000009"):
        with counted_calls(api, table) as calls:
            answer = await sign_in(api, phone=phone, password="wrong horse")
        heard.append((status_and_code(answer), answer.error["message"], calls))
    assert heard[0] == heard[1]
    assert heard[0][0] == (401, "wrong_credentials")
    assert heard[0][2].count("hash") == 1


@contextmanager
def counted_calls(api: ApiClient, table):
    """Names of the calls to the table inside the block, and of each hash."""
    calls: list[str] = []
    call, is_equal = table._call, api.desk.passwords._is_equal

    async def note_call(operation: str, *args: Any) -> Any:
        calls.append(operation)
        return await call(operation, *args)

    def note_hash(*args: Any) -> bool:
        calls.append("hash")
        return is_equal(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "_call", note_call)
        patch.setattr(api.desk.passwords, "_is_equal", note_hash)
        yield calls


@pytest.mark.parametrize("phone", [ADA["phone"], "+237600000009"])
async def test_five_failures_lock_a_login(api: ApiClient, phone: str):
    """The right password too, for a quarter of an hour, and alike where there is no account."""
    await register(api)
    wrong = [await sign_in(api, phone=phone, password="wrong horse") for _ in range(FAILURES_MAX)]
    locked = await sign_in(api, phone=phone)
    assert {status_and_code(answer) for answer in wrong} == {(401, "wrong_credentials")}
    assert status_and_code(locked) == (429, "rate_limited")
    assert locked.error["details"] == {"retryAfterMs": LOCKOUT_MS}
    api.clock.advance(LOCKOUT_MS)
    assert (await sign_in(api, phone=phone)).status in (200, 401)


async def test_registering_is_no_way_around_the_lock(api: ApiClient):
    """Guesses count the same wherever a password is looked at."""
    await register(api)
    for _ in range(FAILURES_MAX):
        await register(api, password="wrong horse")
    assert status_and_code(await sign_in(api)) == (429, "rate_limited")


async def test_a_success_forgets_failures(api: ApiClient):
    """Four mistakes a day lock nobody out."""
    await register(api)
    for _ in range(3):
        for _ in range(FAILURES_MAX - 1):
            assert (await sign_in(api, password="wrong horse")).status == 401
        assert (await sign_in(api)).status == 200


async def test_guesses_at_once_are_counted_one_by_one(api: ApiClient, table: DynamoTable):
    """Thirty at the same moment: five passwords are looked at, and the right one is not among."""
    await register(api)
    with counted_calls(api, table) as calls:
        guesses = (sign_in(api, password=f"guess {number:03d}") for number in range(30))
        heard = [status_and_code(answer) for answer in await asyncio.gather(*guesses)]
    assert calls.count("hash") == FAILURES_MAX
    assert sorted(heard)[:FAILURES_MAX] == [(401, "wrong_credentials")] * FAILURES_MAX
    assert set(heard[FAILURES_MAX:]) <= {(429, "rate_limited"), (401, "wrong_credentials")}


async def test_a_password_has_eight_characters(api: ApiClient):
    """Shorter ones are refused before anything is written."""
    assert status_and_code(await register(api, password="seven77")) == (400, "malformed")
    assert (await sign_in(api)).status == 401


async def test_passwords_are_kept_as_argon2id(api: ApiClient, table: DynamoTable):
    """Source: OWASP, at least 19 MiB and two rounds; nobody's password is found in the table."""
    await register(api)
    everything = str((await table.client.scan(TableName=table.name))["Items"])
    found = re.findall(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$", everything)
    assert [(int(m) >= 19 * 1024, int(t) >= 2, p) for m, t, p in found] == [(True, True, "1")]
    assert PASSWORD not in everything


# Staying signed in.


async def test_a_refresh_token_is_good_once(api: ApiClient):
    """Each answer holds the next one, and the access token with it."""
    first = (await register(api)).data
    second = (await renew(api, first["refreshToken"])).data
    third = (await renew(api, second["refreshToken"])).data
    assert len({each["refreshToken"] for each in (first, second, third)}) == 3
    assert await balance_status(api, third["accessToken"]) == 200


async def test_a_lost_answer_is_asked_for_again(api: ApiClient):
    """A phone in a tunnel tries again within seconds, and nobody is thrown out."""
    first = (await register(api)).data
    await renew(api, first["refreshToken"])
    api.clock.advance(GRACE_MS)
    again = (await renew(api, first["refreshToken"])).data
    assert (await renew(api, again["refreshToken"])).status == 200


async def test_copies_of_a_renewal_all_get_the_next(api: ApiClient):
    """Twenty at once are one renewal."""
    first = (await register(api)).data
    copies = await asyncio.gather(*(renew(api, first["refreshToken"]) for _ in range(20)))
    assert {answer.status for answer in copies} == {200}
    turns = {
        api.tokens.read_refresh(c.data["refreshToken"], api.clock.now_ms()) for c in copies
    }
    assert {turn.renewal_count for turn in turns} == {1}


async def test_a_token_that_comes_twice_ends_the_sign_in(api: ApiClient, redis: RedisClients):
    """A thief and the app have the same one: neither goes on, and access tokens are recalled."""
    first = (await register(api)).data
    second = (await renew(api, first["refreshToken"])).data
    api.clock.advance(GRACE_MS + 1)
    assert status_and_code(await renew(api, first["refreshToken"])) == (401, "token_invalid")
    assert status_and_code(await renew(api, second["refreshToken"])) == (401, "token_invalid")
    assert await is_recalled(api, redis, second["accessToken"])


async def is_recalled(api: ApiClient, redis, token: str) -> bool:
    """Whether a node that looks now refuses an access token."""
    revoked = RevocationCache(api.desk.revocations, PubSub(redis), api.clock)
    await revoked.refresh()
    return revoked.is_revoked(api.tokens.read(token, api.clock.now_ms()))


async def test_the_two_kinds_of_tokens_are_not_mixed_up(api: ApiClient):
    """A refresh token opens no endpoint, and an access token is not renewed."""
    made = (await register(api)).data
    assert await balance_status(api, made["refreshToken"]) == 401
    assert status_and_code(await renew(api, made["accessToken"])) == (401, "token_invalid")
    assert status_and_code(await renew(api, "hello")) == (401, "token_invalid")


async def test_a_sign_in_ends_a_month_after_its_last_use(api: ApiClient):
    """An app that was forgotten asks for the password again."""
    made = (await register(api)).data
    api.clock.advance(30 * 86_400_000)
    assert status_and_code(await renew(api, made["refreshToken"])) == (401, "token_expired")


async def test_whoever_goes_is_gone(api: ApiClient, redis: RedisClients):
    """His tokens are over on every server, his other phone's are not, and a repeat is no fault."""
    phone, tablet = (await register(api)).data, (await sign_in(api)).data
    gone = [
        await api.request(None, "POST /auth/logout", {"refreshToken": phone["refreshToken"]})
        for _ in range(2)
    ]
    assert [answer.status for answer in gone] == [200, 200]
    assert status_and_code(await renew(api, phone["refreshToken"])) == (401, "token_invalid")
    assert await is_recalled(api, redis, phone["accessToken"])
    assert not await is_recalled(api, redis, tablet["accessToken"])
    assert (await renew(api, tablet["refreshToken"])).status == 200


# By code.


async def test_a_code_signs_in_whoever_has_the_phone(api: ApiClient):
    """With an account that is there, and with a new one where there is none."""
    new = await verify_code(api, await request_code(api))
    again = await verify_code(api, await request_code(api))
    assert (new.status, again.status) == (201, 200)
    assert new.data["userId"] == again.data["userId"]


async def test_a_code_is_good_once(api: ApiClient):
    """Whoever reads it later over a shoulder comes too late."""
    digits = await request_code(api)
    assert (await verify_code(api, digits)).status == 201
    assert status_and_code(await verify_code(api, digits)) == (401, "wrong_credentials")


async def test_a_code_has_five_tries(api: ApiClient):
    """The right one does not help after that."""
    digits = await request_code(api)
    for _ in range(5):
        assert (await verify_code(api, wrong_code(digits))).status == 401
    assert status_and_code(await verify_code(api, digits)) == (401, "wrong_credentials")


async def test_a_thousand_guesses_at_once_are_five(api: ApiClient):
    """Fifty at the same moment, the right one last: each has to be counted first."""
    digits = await request_code(api)
    guesses = [verify_code(api, wrong_code(digits)) for _ in range(50)]
    heard = await asyncio.gather(*guesses)
    assert {answer.status for answer in heard} == {401}
    assert (await verify_code(api, digits)).status == 401


async def test_a_code_ends_after_five_minutes(api: ApiClient):
    """A newer one takes the place of an older one."""
    late = await request_code(api)
    api.clock.advance(CODE_TTL_MS)
    assert (await verify_code(api, late)).status == 401
    older, newer = await request_code(api), await request_code(api)
    assert [(await verify_code(api, each)).status for each in (older, newer)] == [401, 201]


async def test_a_code_is_of_one_login(api: ApiClient):
    """The code of a customer does not open the account of a rider with the same phone."""
    digits = await request_code(api)
    assert (await verify_code(api, digits, userType="RIDER")).status == 401


async def test_a_code_changes_the_password(api: ApiClient, redis: RedisClients):
    """Whoever had the old one is out everywhere, at once; the one with the phone stays."""
    await verify_code(api, await request_code(api), password=PASSWORD)
    thief = (await sign_in(api)).data
    api.clock.advance(2_000)
    owner = (await verify_code(api, await request_code(api), password="a new battery")).data
    assert status_and_code(await renew(api, thief["refreshToken"])) == (401, "token_invalid")
    assert await is_recalled(api, redis, thief["accessToken"])
    assert not await is_recalled(api, redis, owner["accessToken"])
    assert (await renew(api, owner["refreshToken"])).status == 200
    assert [(await sign_in(api)).status, (await sign_in(api, password="a new battery")).status] == [
        401, 200,
    ]  # fmt: skip


async def test_a_password_that_nobody_proved_is_forgotten(api: ApiClient):
    """Somebody registered with the phone of another, who comes with a code."""
    squatter = (await register(api)).data
    api.clock.advance(2_000)
    owner = (await verify_code(api, await request_code(api))).data
    assert owner["userId"] == squatter["userId"]
    assert status_and_code(await sign_in(api)) == (401, "wrong_credentials")
    assert status_and_code(await renew(api, squatter["refreshToken"])) == (401, "token_invalid")


async def test_a_proven_password_stays(api: ApiClient):
    """Signing in by code once changes nothing for those who have a password."""
    await verify_code(api, await request_code(api), password=PASSWORD)
    phone = (await sign_in(api)).data
    await verify_code(api, await request_code(api))
    assert (await renew(api, phone["refreshToken"])).status == 200
    assert (await sign_in(api)).status == 200


async def test_codes_need_somebody_who_sends_them(production_api: ApiClient):
    """A server without a gateway says so, and never shows a code."""
    asked = await production_api.request(None, "POST /auth/otp/request", ADA)
    assert status_and_code(asked) == (503, "service_disabled")


async def test_a_code_is_not_kept_as_it_is(api: ApiClient, table: DynamoTable):
    """Whoever reads the table cannot sign in: a million of them are tried out within a second."""
    digits = await request_code(api)
    everything = str((await table.client.scan(TableName=table.name))["Items"])
    assert "CODE" in everything
    assert digits not in everything
