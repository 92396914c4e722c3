"""The minimal DynamoDB client signs and fails like the library."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from bench.engines.minimal_dynamodb_client import (
    CONTENT_TYPE,
    AwsKeys,
    MinimalDynamoClient,
    signed_headers,
)

KEYS = AwsKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-west-1")


def test_requests_are_signed_like_the_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same request at the same moment has the same signature."""
    at, body = datetime(2026, 11, 21, 16, 30, tzinfo=UTC), b'{"TableName":"t"}'
    ours = signed_headers(KEYS, "localhost:8000", "DynamoDB_20120810.GetItem", body, at)
    headers = {name: ours[name] for name in ("Content-Type", "X-Amz-Target")}
    request = AWSRequest("POST", "http://localhost:8000/", headers=headers, data=body)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: at.replace(tzinfo=None))
    credentials = Credentials(KEYS.access_key, KEYS.secret_key)
    SigV4Auth(credentials, "dynamodb", KEYS.region).add_auth(request)

    assert ours["Content-Type"] == CONTENT_TYPE
    assert ours["Authorization"] == request.headers["Authorization"]


@pytest_asyncio.fixture
async def endpoint() -> AsyncIterator[str]:
    """A server that answers GetItem, and refuses everything else as a conflict."""

    async def respond(request: web.Request) -> web.Response:
        if request.headers["X-Amz-Target"].endswith(".GetItem"):
            return web.json_response({"Item": await request.json()})
        error = {
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "message": "no",
            "CancellationReasons": [{"Code": "ConditionalCheckFailed"}],
        }
        return web.json_response(error, status=400)

    app = web.Application()
    app.router.add_post("/", respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_answers_and_errors_are_the_librarys(endpoint: str) -> None:
    """An answer is its JSON; an error is a ClientError with code and cancellation reasons."""
    async with MinimalDynamoClient(endpoint, KEYS) as client:
        assert await client.get_item(TableName="t") == {"Item": {"TableName": "t"}}
        with pytest.raises(ClientError) as raised:
            await client.transact_write_items(TransactItems=[])
    assert raised.value.response["Error"]["Code"] == "TransactionCanceledException"
    reasons = raised.value.response["CancellationReasons"]  # pyright: ignore[reportTypedDictNotRequiredAccess]
    assert reasons == [{"Code": "ConditionalCheckFailed"}]
