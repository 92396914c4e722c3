"""Idempotency keys of HTTP requests: whose they are, what they cover, what a repeat gets."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from dispatch.clock import ManualClock
from dispatch.errors import Refusal, Refused
from dispatch.events.kept_answers import KeptAnswers
from handlers.http.framework.envelope import PRINCIPAL
from handlers.http.framework.idempotency import KEPT_ANSWERS, http_caller, run_once
from handlers.sessions.auth import Principal
from ledger.dynamodb.client import DynamoTable

RIDER = Principal(
    user_type="RIDER",
    id="rdr_1",
    audience="rider",
    issued_at_ms=0,
    expires_at_ms=1,
    token_id="tok_1",
)


def keyed_request(key: str | None, path: str = "/payouts", method: str = "POST") -> web.Request:
    headers = {} if key is None else {"Idempotency-Key": key}
    request = make_mocked_request(method, path, headers=headers)
    request[PRINCIPAL] = RIDER
    return request


def test_a_caller_is_the_principal_of_the_request():
    """Without a key it has no request key."""
    caller = http_caller(keyed_request(None))
    assert (caller.audience, caller.id, caller.request_key) == ("rider", "rdr_1", None)


def test_a_request_key_covers_method_path_and_body():
    """The same key names the same record; its hash differs if anything else does."""
    first = http_caller(keyed_request("k"), {"amount": 1}).request_key
    assert first is not None
    assert http_caller(keyed_request("k"), {"amount": 1}).request_key == first
    others = [
        http_caller(keyed_request("k"), {"amount": 2}).request_key,
        http_caller(keyed_request("k", path="/tips"), {"amount": 1}).request_key,
        http_caller(keyed_request("k", method="PUT"), {"amount": 1}).request_key,
    ]
    assert {other.record_key for other in others if other} == {first.record_key}
    assert first.body_hash not in {other.body_hash for other in others if other}


@pytest.mark.parametrize("key", ["", "k" * 129, "naïve", "a\tb"])
def test_a_key_is_printable_ascii_of_1_to_128_characters(key: str):
    """Any other key is malformed."""
    with pytest.raises(Refused) as refused:
        http_caller(keyed_request(key))
    assert refused.value.code is Refusal.MALFORMED
    assert http_caller(keyed_request("k" * 128)).request_key is not None


@pytest.mark.engines
async def test_work_runs_once_for_each_key(table: DynamoTable):
    """A repeat gets the first answer, another body is a conflict, and without a key each runs."""
    runs: list[int] = []

    async def work() -> dict[str, Any]:
        runs.append(1)
        return {"run": len(runs)}

    async def handle(request: web.Request) -> web.Response:
        request[PRINCIPAL] = RIDER
        try:
            return web.json_response(await run_once(request, await request.json(), work))
        except Refused as refused:
            return web.json_response({"code": refused.code.value})

    app = web.Application()
    app[KEPT_ANSWERS] = KeptAnswers(table, ManualClock())
    app.router.add_post("/quote", handle)
    async with TestClient(TestServer(app)) as client:

        async def post(body: int, key: str | None = None) -> dict[str, Any]:
            headers = {} if key is None else {"Idempotency-Key": key}
            return await (await client.post("/quote", json=body, headers=headers)).json()

        assert [await post(1, "k"), await post(1, "k")] == [{"run": 1}, {"run": 1}]
        assert await post(2, "k") == {"code": "conflict"}
        assert [await post(1), await post(1)] == [{"run": 2}, {"run": 3}]
