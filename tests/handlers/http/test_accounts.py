"""Accounts: registering, signing in by password and by code, staying signed in, and going."""

import asyncio
import re
from contextlib import contextmanager
from typing import Any

import pytest

from dispatch.accounts.sign_ins import GRACE_MS
from dispatch.accounts.store import CODE_MS, FAILURES_MAX, LOCKED_MS
from dispatch.storage.pubsub import Feeds
from dispatch.storage.redis_client import RedisClients
from handlers.sessions.revocation_cache import Revoked
from ledger.dynamodb.client import DynamoTable
from tests.handlers.http_api import Answer, Api

pytestmark = pytest.mark.engines

ADA = {"userType": "USER", "phone": "+237 600 000 001"}
PASSWORD = "correct horse"


async def register(api: Api, **changes: Any) -> Answer:
    return await api.ask(None, "POST /auth/register", {**ADA, "password": PASSWORD, **changes})


async def sign_in(api: Api, **changes: Any) -> Answer:
    return await api.ask(None, "POST /auth/login", {**ADA, "password": PASSWORD, **changes})


async def renew(api: Api, token: str) -> Answer:
    return await api.ask(None, "POST /auth/refresh", {"refreshToken": token})


async def code(api: Api, **changes: Any) -> str:
    asked = await api.ask(None, "POST /auth/otp/request", {**ADA, **changes})
    return asked.data["devCode"]


async def prove(api: Api, digits: str, **changes: Any) -> Answer:
    return await api.ask(None, "POST /auth/otp/verify", {**ADA, "code": digits, **changes})


def other(digits: str) -> str:
    return f"{(int(digits) + 1) % 1_000_000:06d}"


def told(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.error and answer.error["code"]


async def balance(api: Api, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return (await api.raw("GET", "/wallet/balance", headers)).status


# By password.


async def test_whoever_registers_is_signed_in(api: Api):
    """The token opens what is his, and he comes in again by his password."""
    made = await register(api)
    again = await sign_in(api)
    assert (made.status, again.status) == (201, 200)
    assert made.data["userId"] == again.data["userId"]
    assert made.data["userId"].startswith("usr_")
    assert [await balance(api, one.data["accessToken"]) for one in (made, again)] == [200, 200]


async def test_a_registration_is_said_twice(api: Api):
    """Its answer was lost: the same password is let in, another one is told nothing but no."""
    first, second = await register(api), await register(api)
    assert (second.status, second.data["userId"]) == (201, first.data["userId"])
    assert told(await register(api, password="something else")) == (409, "conflict")


async def test_copies_of_a_registration_make_one_account(api: Api):
    """An app that sends it five times at once has one account."""
    made = await asyncio.gather(*(register(api) for _ in range(FAILURES_MAX)))
    assert len({answer.data["userId"] for answer in made}) == 1


async def test_a_phone_is_one_however_it_is_written(api: Api):
    """Spaces and brackets are no other person."""
    made = await register(api)
    again = await sign_in(api, phone="237(600)000-001")
    assert again.data["userId"] == made.data["userId"]
    assert told(await sign_in(api, phone="+()+()+()")) == (400, "malformed")


async def test_each_role_has_an_account_of_its_own(api: Api):
    """A rider who orders his lunch is two people; operators are none of them."""
    made = [await register(api, userType=kind) for kind in ("USER", "VENDOR", "RIDER")]
    assert len({answer.data["userId"] for answer in made}) == 3
    assert (await register(api, userType="ADMIN")).status == 400


async def test_a_name_is_in_the_profile(api: Api):
    """Riders and vendors begin with what they said."""
    made = await register(api, userType="RIDER", name="Awa")
    who = ("RIDER", made.data["userId"])
    profile = (await api.ask(who, "GET /rider/profile")).data
    assert (profile["name"], profile["phone"]) == ("Awa", "+237600000001")


async def test_a_wrong_password_and_no_account_are_the_same(api: Api, table: DynamoTable):
    """The same words, the same calls to the store, and one hash each."""
    await register(api)
    heard = []
    for phone in (ADA["phone"], "+237600000009"):
        with counted(api, table) as calls:
            answer = await sign_in(api, phone=phone, password="wrong horse")
        heard.append((told(answer), answer.error["message"], calls))
    assert heard[0] == heard[1]
    assert heard[0][0] == (401, "wrong_credentials")
    assert heard[0][2].count("hash") == 1


@contextmanager
def counted(api: Api, table):
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
async def test_five_failures_lock_a_login(api: Api, phone: str):
    """The right password too, for a quarter of an hour, and alike where there is no account."""
    await register(api)
    wrong = [await sign_in(api, phone=phone, password="wrong horse") for _ in range(FAILURES_MAX)]
    locked = await sign_in(api, phone=phone)
    assert {told(answer) for answer in wrong} == {(401, "wrong_credentials")}
    assert told(locked) == (429, "rate_limited")
    assert locked.error["details"] == {"retryAfterMs": LOCKED_MS}
    api.desk.clock.advance(LOCKED_MS)
    assert (await sign_in(api, phone=phone)).status in (200, 401)


async def test_registering_is_no_way_around_the_lock(api: Api):
    """Guesses count the same wherever a password is looked at."""
    await register(api)
    for _ in range(FAILURES_MAX):
        await register(api, password="wrong horse")
    assert told(await sign_in(api)) == (429, "rate_limited")


async def test_a_success_forgets_failures(api: Api):
    """Four mistakes a day lock nobody out."""
    await register(api)
    for _ in range(3):
        for _ in range(FAILURES_MAX - 1):
            assert (await sign_in(api, password="wrong horse")).status == 401
        assert (await sign_in(api)).status == 200


async def test_guesses_at_once_are_counted_one_by_one(api: Api, table: DynamoTable):
    """Thirty at the same moment: five passwords are looked at, and the right one is not among."""
    await register(api)
    with counted(api, table) as calls:
        guesses = (sign_in(api, password=f"guess {number:03d}") for number in range(30))
        heard = [told(answer) for answer in await asyncio.gather(*guesses)]
    assert calls.count("hash") == FAILURES_MAX
    assert sorted(heard)[:FAILURES_MAX] == [(401, "wrong_credentials")] * FAILURES_MAX
    assert set(heard[FAILURES_MAX:]) <= {(429, "rate_limited"), (401, "wrong_credentials")}


async def test_a_password_has_eight_characters(api: Api):
    """Shorter ones are refused before anything is written."""
    assert told(await register(api, password="seven77")) == (400, "malformed")
    assert (await sign_in(api)).status == 401


async def test_passwords_are_kept_as_argon2id(api: Api, table: DynamoTable):
    """Source: OWASP, at least 19 MiB and two rounds; nobody's password is found in the table."""
    await register(api)
    everything = str((await table.client.scan(TableName=table.name))["Items"])
    found = re.findall(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$", everything)
    assert [(int(m) >= 19 * 1024, int(t) >= 2, p) for m, t, p in found] == [(True, True, "1")]
    assert PASSWORD not in everything


# Staying signed in.


async def test_a_refresh_token_is_good_once(api: Api):
    """Each answer holds the next one, and the access token with it."""
    first = (await register(api)).data
    second = (await renew(api, first["refreshToken"])).data
    third = (await renew(api, second["refreshToken"])).data
    assert len({each["refreshToken"] for each in (first, second, third)}) == 3
    assert await balance(api, third["accessToken"]) == 200


async def test_a_lost_answer_is_asked_for_again(api: Api):
    """A phone in a tunnel tries again within seconds, and nobody is thrown out."""
    first = (await register(api)).data
    await renew(api, first["refreshToken"])
    api.desk.clock.advance(GRACE_MS)
    again = (await renew(api, first["refreshToken"])).data
    assert (await renew(api, again["refreshToken"])).status == 200


async def test_copies_of_a_renewal_all_get_the_next(api: Api):
    """Twenty at once are one renewal."""
    first = (await register(api)).data
    copies = await asyncio.gather(*(renew(api, first["refreshToken"]) for _ in range(20)))
    assert {answer.status for answer in copies} == {200}
    turns = {
        api.tokens.read_refresh(c.data["refreshToken"], api.desk.clock.now_ms()) for c in copies
    }
    assert {turn.number for turn in turns} == {1}


async def test_a_token_that_comes_twice_ends_the_sign_in(api: Api, redis: RedisClients):
    """A thief and the app have the same one: neither goes on, and access tokens are recalled."""
    first = (await register(api)).data
    second = (await renew(api, first["refreshToken"])).data
    api.desk.clock.advance(GRACE_MS + 1)
    assert told(await renew(api, first["refreshToken"])) == (401, "token_invalid")
    assert told(await renew(api, second["refreshToken"])) == (401, "token_invalid")
    assert await recalled(api, redis, second["accessToken"])


async def recalled(api: Api, redis, token: str) -> bool:
    """Whether a node that looks now refuses an access token."""
    revoked = Revoked(api.desk.revocations, Feeds(redis), api.desk.clock)
    await revoked.look()
    return revoked.holds(api.tokens.read(token, api.desk.clock.now_ms()))


async def test_the_two_kinds_of_tokens_are_not_mixed_up(api: Api):
    """A refresh token opens no endpoint, and an access token is not renewed."""
    made = (await register(api)).data
    assert await balance(api, made["refreshToken"]) == 401
    assert told(await renew(api, made["accessToken"])) == (401, "token_invalid")
    assert told(await renew(api, "hello")) == (401, "token_invalid")


async def test_a_sign_in_ends_a_month_after_its_last_use(api: Api):
    """An app that was forgotten asks for the password again."""
    made = (await register(api)).data
    api.desk.clock.advance(30 * 86_400_000)
    assert told(await renew(api, made["refreshToken"])) == (401, "token_expired")


async def test_whoever_goes_is_gone(api: Api, redis: RedisClients):
    """His tokens are over on every server, his other phone's are not, and a repeat is no fault."""
    phone, tablet = (await register(api)).data, (await sign_in(api)).data
    gone = [
        await api.ask(None, "POST /auth/logout", {"refreshToken": phone["refreshToken"]})
        for _ in range(2)
    ]
    assert [answer.status for answer in gone] == [200, 200]
    assert told(await renew(api, phone["refreshToken"])) == (401, "token_invalid")
    assert await recalled(api, redis, phone["accessToken"])
    assert not await recalled(api, redis, tablet["accessToken"])
    assert (await renew(api, tablet["refreshToken"])).status == 200


# By code.


async def test_a_code_signs_in_whoever_has_the_phone(api: Api):
    """With an account that is there, and with a new one where there is none."""
    new = await prove(api, await code(api))
    again = await prove(api, await code(api))
    assert (new.status, again.status) == (201, 200)
    assert new.data["userId"] == again.data["userId"]


async def test_a_code_is_good_once(api: Api):
    """Whoever reads it later over a shoulder comes too late."""
    digits = await code(api)
    assert (await prove(api, digits)).status == 201
    assert told(await prove(api, digits)) == (401, "wrong_credentials")


async def test_a_code_has_five_tries(api: Api):
    """The right one does not help after that."""
    digits = await code(api)
    for _ in range(5):
        assert (await prove(api, other(digits))).status == 401
    assert told(await prove(api, digits)) == (401, "wrong_credentials")


async def test_a_thousand_guesses_at_once_are_five(api: Api):
    """Fifty at the same moment, the right one last: each has to be counted first."""
    digits = await code(api)
    guesses = [prove(api, other(digits)) for _ in range(50)]
    heard = await asyncio.gather(*guesses)
    assert {answer.status for answer in heard} == {401}
    assert (await prove(api, digits)).status == 401


async def test_a_code_ends_after_five_minutes(api: Api):
    """A newer one takes the place of an older one."""
    late = await code(api)
    api.desk.clock.advance(CODE_MS)
    assert (await prove(api, late)).status == 401
    older, newer = await code(api), await code(api)
    assert [(await prove(api, each)).status for each in (older, newer)] == [401, 201]


async def test_a_code_is_of_one_login(api: Api):
    """The code of a customer does not open the account of a rider with the same phone."""
    digits = await code(api)
    assert (await prove(api, digits, userType="RIDER")).status == 401


async def test_a_code_changes_the_password(api: Api, redis: RedisClients):
    """Whoever had the old one is out everywhere, at once; the one with the phone stays."""
    await prove(api, await code(api), password=PASSWORD)
    thief = (await sign_in(api)).data
    api.desk.clock.advance(2_000)
    owner = (await prove(api, await code(api), password="a new battery")).data
    assert told(await renew(api, thief["refreshToken"])) == (401, "token_invalid")
    assert await recalled(api, redis, thief["accessToken"])
    assert not await recalled(api, redis, owner["accessToken"])
    assert (await renew(api, owner["refreshToken"])).status == 200
    assert [(await sign_in(api)).status, (await sign_in(api, password="a new battery")).status] == [
        401, 200,
    ]  # fmt: skip


async def test_a_password_that_nobody_proved_is_forgotten(api: Api):
    """Somebody registered with the phone of another, who comes with a code."""
    squatter = (await register(api)).data
    api.desk.clock.advance(2_000)
    owner = (await prove(api, await code(api))).data
    assert owner["userId"] == squatter["userId"]
    assert told(await sign_in(api)) == (401, "wrong_credentials")
    assert told(await renew(api, squatter["refreshToken"])) == (401, "token_invalid")


async def test_a_proven_password_stays(api: Api):
    """Signing in by code once changes nothing for those who have a password."""
    await prove(api, await code(api), password=PASSWORD)
    phone = (await sign_in(api)).data
    await prove(api, await code(api))
    assert (await renew(api, phone["refreshToken"])).status == 200
    assert (await sign_in(api)).status == 200


async def test_codes_need_somebody_who_sends_them(strict_api: Api):
    """A server without a gateway says so, and never shows a code."""
    asked = await strict_api.ask(None, "POST /auth/otp/request", ADA)
    assert told(asked) == (503, "service_disabled")


async def test_a_code_is_not_kept_as_it_is(api: Api, table: DynamoTable):
    """Whoever reads the table cannot sign in: a million of them are tried out within a second."""
    digits = await code(api)
    everything = str((await table.client.scan(TableName=table.name))["Items"])
    assert "CODE" in everything
    assert digits not in everything
