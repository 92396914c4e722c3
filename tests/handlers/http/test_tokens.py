"""Token revocation over HTTP: what an operator may name, and that only operators may."""

import pytest

from tests.handlers.http_api import ADA, ADMIN, ApiClient

pytestmark = pytest.mark.engines

PASSWORD = "correct horse"


def subjects(entries) -> list[str]:
    return sorted(entry.subject for entry in entries)


async def test_a_token_is_revoked_by_itself_or_by_its_jti(api: ApiClient):
    """An operator has the token, or reads its `jti` in a log of the identity service."""
    token = api.tokens.issue("USER", "usr_ada", 600, api.clock.now_ms())
    token_id = api.tokens.read(token, api.clock.now_ms()).token_id
    by_itself = await api.request(ADMIN, "POST /admin/tokens/revoke", {"token": token})
    by_name = await api.request(ADMIN, "POST /admin/tokens/revoke", {"jti": "theirs"})

    at_ms = api.clock.now_ms()
    assert by_itself.data == {"tokenId": token_id, "revokedAt": at_ms}
    assert by_name.data == {"tokenId": "theirs", "revokedAt": at_ms}
    entries = await api.services.revocations.since(0)
    assert subjects(entries) == sorted([f"token:{token_id}", "token:theirs"])


async def test_a_user_is_revoked_in_one_role_or_in_all(api: ApiClient):
    """Without `userType` every role under the id is revoked."""
    body = {"userType": "RIDER", "userId": "rdr_1", "reason": "lost phone"}
    one = await api.request(ADMIN, "POST /admin/tokens/revoke", body)
    every = await api.request(ADMIN, "POST /admin/tokens/revoke", {"userId": "x_1"})

    assert one.data["identities"] == ["rider:rdr_1"]
    assert every.data["identities"] == ["user:x_1", "vendor:x_1", "rider:x_1", "ops:x_1"]


@pytest.mark.parametrize("given", [{"userType": "USER"}, {}])
async def test_revoking_a_person_ends_its_sign_ins(api: ApiClient, given: dict[str, str]):
    """Its refresh tokens are refused, another person's are not; it may sign in again."""
    phones = [{"userType": "USER", "phone": f"+23767000000{n}", "password": PASSWORD} for n in "12"]
    one, other = [(await api.request(None, "POST /auth/register", p)).data for p in phones]
    body = {**given, "userId": one["userId"]}
    assert (await api.request(ADMIN, "POST /admin/tokens/revoke", body)).status == 200

    renewed = [
        await api.request(None, "POST /auth/refresh", {"refreshToken": each["refreshToken"]})
        for each in (one, other)
    ]
    assert [answer.status for answer in renewed] == [401, 200]
    assert renewed[0].error["code"] == "token_invalid"
    api.clock.advance(1_000)
    again = await api.request(None, "POST /auth/login", phones[0])
    token = {"refreshToken": again.data["refreshToken"]}
    assert (await api.request(None, "POST /auth/refresh", token)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"token": "hello"},
        {"jti": "a", "userId": "usr_1"},
        {"jti": ""},
        {"userType": "RIDER"},
        {"userType": "ROOT", "userId": "x"},
        {"jti": "a", "userType": "RIDER"},
        {"userId": "a b"},
    ],
)
async def test_a_revocation_names_one_thing(api: ApiClient, body: dict[str, str]):
    """None, several, or a malformed one is refused, and nothing is revoked."""
    answer = await api.request(ADMIN, "POST /admin/tokens/revoke", body)
    assert (answer.status, answer.error["code"]) == (400, "malformed")
    assert await api.services.revocations.since(0) == []


async def test_only_operators_revoke_tokens(api: ApiClient):
    """A customer is forbidden to."""
    answer = await api.request(ADA, "POST /admin/tokens/revoke", {"userId": "adm_1"})
    assert answer.status == 403
