"""Limits of sign-ins and codes: attacks on one phone from one address, one network and many.

Every client is behind a trusted proxy, so that a test chooses its address.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dispatch import settings
from dispatch.accounts.attempts import FAILURES_MAX, LOCKOUT_MS
from dispatch.accounts.codes import CODE_TTL_MS
from dispatch.storage.redis_client import RedisClients
from handlers.sessions.pacing import ANONYMOUS_RATE
from ledger.dynamodb.client import DynamoTable
from tests.handlers.http_api import ApiClient, ApiResponse, run_api

pytestmark = pytest.mark.engines

PHONE, PASSWORD = "+237690123456", "correct horse"
HOME, OFFICE = "41.202.207.1", "154.72.160.9"
# A round of an attack sends eight requests. Units: milliseconds.
ROUND_MS = round(8 * 1000 / ANONYMOUS_RATE.per_s)
ATTACKS: dict[str, Callable[[int], str]] = {
    "one address": lambda _n: "102.244.1.1",
    "one /64": lambda n: f"2c0f:eca0:1:2::{n:x}",
    "many addresses": lambda n: f"102.244.{n // 250}.{n % 250}",
}


@asynccontextmanager
async def limited_api(
    table: DynamoTable, redis: RedisClients, **changes: str
) -> AsyncIterator[ApiClient]:
    environ = {"TRUSTED_PROXIES": "127.0.0.0/8", **changes}
    async with run_api(table, redis, settings.read(environ, dev=True)) as client:
        yield client


@pytest.fixture
async def api(table: DynamoTable, redis: RedisClients) -> AsyncIterator[ApiClient]:
    async with limited_api(table, redis) as client:
        yield client


async def post(api: ApiClient, address: str, path: str, **body: Any) -> ApiResponse:
    payload = {"userType": "USER", "phone": PHONE, **body}
    return await api.request_raw(
        "POST", f"/auth/{path}", {"X-Forwarded-For": address}, json=payload
    )


async def ask(api: ApiClient, address: str, **body: Any) -> ApiResponse:
    return await post(api, address, "otp/request", **body)


async def verify(api: ApiClient, address: str, code: str, **body: Any) -> ApiResponse:
    return await post(api, address, "otp/verify", code=code, **body)


async def log_in(api: ApiClient, address: str, password: str = PASSWORD) -> ApiResponse:
    return await post(api, address, "login", password=password)


async def open_account(api: ApiClient, address: str = HOME) -> str:
    """The victim's account, made by a code from home; its user id."""
    asked = await ask(api, address)
    made = await verify(api, address, asked.data["devCode"], password=PASSWORD)
    assert made.status == 201
    api.clock.advance(LOCKOUT_MS)
    return made.data["userId"]


async def attack(api: ApiClient, address_of: Callable[[int], str], rounds: int) -> None:
    """Wrong passwords, registrations, wrong codes and requests for codes, in every role.

    Fifty a second, so that no answer is paced: that would take real time.
    """
    for number in range(rounds):
        address = address_of(number)
        api.clock.advance(ROUND_MS)
        for kind in ("USER", "RIDER"):
            await post(api, address, "login", password="guess horse", userType=kind)
            await post(api, address, "register", password="guess horse", userType=kind)
            await ask(api, address, userType=kind)
            await verify(api, address, f"{number:06d}", userType=kind)


@pytest.mark.parametrize("address_of", ATTACKS.values(), ids=ATTACKS)
async def test_an_attacked_owner_signs_in_at_home(api: ApiClient, address_of: Callable[[int], str]):
    """By password and by a code, at once and a minute later, whatever others try."""
    owner = await open_account(api)
    await attack(api, address_of, 60)
    by_password = await log_in(api, HOME)
    asked = await ask(api, HOME)
    await attack(api, address_of, 10)
    by_code = await verify(api, HOME, asked.data["devCode"])
    answers = [by_password, by_code]
    assert [(each.status, each.data["userId"]) for each in answers] == [(200, owner)] * 2


@pytest.mark.parametrize("address_of", [ATTACKS["one address"], ATTACKS["one /64"]])
async def test_one_network_cannot_lock_a_new_one(api: ApiClient, address_of: Callable[[int], str]):
    """The owner signs in from where it never was, by password and by code."""
    owner = await open_account(api)
    await attack(api, address_of, 60)
    by_password = await log_in(api, OFFICE)
    asked = await ask(api, OFFICE)
    await attack(api, address_of, 10)
    by_code = await verify(api, OFFICE, asked.data["devCode"])
    assert [by_password.data["userId"], by_code.data["userId"]] == [owner, owner]


async def test_many_networks_leave_a_live_code(api: ApiClient):
    """Where unknown networks have no request left, the owner is answered: a code was sent."""
    await open_account(api)
    for minute in range(60):
        for number in range(5):
            await ask(api, f"102.244.{minute}.{number}")
        asked = await ask(api, f"154.72.{minute}.9")
        assert asked.status == 200
        assert 0 < asked.data["expiresInMs"] <= CODE_TTL_MS
        api.clock.advance(60_000)


@pytest.mark.parametrize("address_of", [ATTACKS["one address"], ATTACKS["one /64"]])
@pytest.mark.parametrize("kind", ["USER", "RIDER"])
async def test_a_network_has_five_guesses(
    api: ApiClient, address_of: Callable[[int], str], kind: str
):
    """Then it waits, for any account and for none; so it does with codes, in all roles together."""
    await open_account(api)
    passwords = [
        await post(api, address_of(n), "login", password="guess horse", userType=kind)
        for n in range(8)
    ]
    codes = [await verify(api, address_of(n), "000000", userType=kind) for n in range(8)]
    for answers in (passwords, codes):
        assert [each.status for each in answers] == [401] * FAILURES_MAX + [429] * 3
    other = "RIDER" if kind == "USER" else "USER"
    assert (await verify(api, address_of(9), "000000", userType=other)).status == 429


async def test_strangers_never_guess_a_code(api: ApiClient):
    """Of 300 networks that guess at once fifty guesses are checked; the owner's code is valid."""
    await open_account(api)
    asked = await ask(api, HOME)
    wrong = f"{(int(asked.data['devCode']) + 1) % 1_000_000:06d}"
    guesses = [
        (await verify(api, ATTACKS["many addresses"](number), wrong)).status
        for number in range(300)
    ]
    assert (guesses.count(401), guesses.count(429)) == (50, 250)
    assert (await verify(api, HOME, asked.data["devCode"])).status == 200


@pytest.mark.parametrize("challenge", [True, False])
async def test_the_requester_may_change_its_address(api: ApiClient, challenge: bool):
    """A code asked for over one network is verified over another; `challengeId` keeps its tries."""
    await open_account(api)
    asked = await ask(api, HOME)
    body = {"challengeId": asked.data["challengeId"]} if challenge else {}
    for number in range(12):
        for _ in range(FAILURES_MAX):
            await verify(api, ATTACKS["many addresses"](number), "000000")
    answer = await verify(api, OFFICE, asked.data["devCode"], **body)
    assert answer.status == (200 if challenge else 429)


@pytest.mark.parametrize("forged", ["", "x", "0" * 32, f"{'0' * 32}.{'0' * 32}", "é"])
async def test_a_forged_challenge_is_ignored(api: ApiClient, forged: str):
    """The caller's own network counts; another login's challenge is as good as none."""
    await open_account(api)
    other = (await ask(api, HOME, userType="RIDER")).data["challengeId"]
    for challenge in (forged, other, forged, other, forged):
        assert (await verify(api, OFFICE, "000000", challengeId=challenge)).status == 401
    assert (await verify(api, OFFICE, "000000", challengeId=other)).status == 429


async def test_known_and_unknown_phones_get_the_same_answers(api: ApiClient):
    """Status, code and message of each step, from the first try to the wait."""
    await open_account(api)
    steps: list[list[object]] = []
    for phone in (PHONE, "+237670000000"):
        seen: list[object] = []
        for _ in range(7):
            for path, body in (
                ("login", {"password": "guess horse"}),
                ("otp/request", {}),
                ("otp/verify", {"code": "000000"}),
            ):
                answer = await post(api, OFFICE, path, phone=phone, **body)
                seen.append((answer.status, answer.error, sorted(answer.data or {})))
        steps.append(seen)
    assert steps[0] == steps[1]


async def test_requests_per_address_are_settings(table: DynamoTable, redis: RedisClients):
    """A carrier's address asks for as many codes, and signs in as often, as the operator allows."""
    changes = {"CODES_PER_ADDRESS_15MIN": "3", "SIGN_INS_PER_ADDRESS_15MIN": "4"}
    async with limited_api(table, redis, **changes) as api:
        codes = [(await ask(api, HOME, phone=f"+23769000000{n}")).status for n in range(5)]
        sign_ins = [
            (await post(api, HOME, "login", password="x", phone=f"+23769000000{n}")).status
            for n in range(6)
        ]
        other = await ask(api, OFFICE, phone="+237690000009")
    assert codes == [200] * 3 + [429] * 2
    assert sign_ins == [401] * 4 + [429] * 2
    assert other.status == 200


async def test_codes_of_a_day_are_budgeted(table: DynamoTable, redis: RedisClients):
    """Above CODES_PER_DAY none is sent until the next day, and the answer says how long."""
    async with limited_api(table, redis, CODES_PER_DAY="2") as api:
        day = 86_400_000
        api.clock.advance(day - api.clock.now_ms() % day)
        answers = [await ask(api, f"41.202.207.{n}", phone=f"+23769000000{n}") for n in range(4)]
        assert [each.status for each in answers] == [200, 200, 429, 429]
        assert answers[2].error["details"] == {"retryAfterMs": day}
        api.clock.advance(day)
        assert (await ask(api, HOME)).status == 200


@pytest.mark.parametrize(
    ("countries", "phone", "status"),
    [
        ("", "+237690123456", 200),
        ("", "+33612345678", 422),
        ("", "+237600000001", 200),
        ("CM,FR", "+33612345678", 200),
        ("FR", "+237690123456", 422),
        ("US", "+16135550123", 422),
    ],
)
async def test_codes_go_to_allowed_countries(
    table: DynamoTable, redis: RedisClients, countries: str, phone: str, status: int
):
    """By default to the region's own; a sign-in by password needs no code."""
    async with limited_api(table, redis, CODE_COUNTRIES=countries) as api:
        asked = await ask(api, HOME, phone=phone)
        registered = await post(api, HOME, "register", phone=phone, password=PASSWORD)
    assert asked.status == status
    assert status == 200 or asked.error["code"] == "country_not_served"
    assert registered.status == 201
