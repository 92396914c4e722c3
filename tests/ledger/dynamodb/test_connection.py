"""The library's client as it is configured for the server."""

import pytest

from ledger.dynamodb.client import DynamoTable, open_table
from ledger.dynamodb.connection import library_client
from ledger.dynamodb.table import Item, Key, Put

REGION = "eu-west-1"


def item(sk: str, **attributes: object) -> Item:
    return {"PK": "P", "SK": sk, **attributes}


async def test_the_address_and_the_signature_are_those_of_the_region(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without endpoint rules the client still calls and signs for its region."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    async with library_client(None, "eu-central-1") as client:
        assert client.meta.endpoint_url == "https://dynamodb.eu-central-1.amazonaws.com"
        url = await client.generate_presigned_url("list_tables")
    assert url.startswith("https://dynamodb.eu-central-1.amazonaws.com/")
    assert "%2Feu-central-1%2Fdynamodb%2Faws4_request" in url


async def test_a_local_engine_needs_no_credentials() -> None:
    """An engine on this machine is signed for with placeholder credentials."""
    async with library_client("http://127.0.0.1:1", REGION) as client:
        url = await client.generate_presigned_url("list_tables")
    assert url.startswith("http://127.0.0.1:1/")
    assert "X-Amz-Credential=local%2F" in url


@pytest.mark.engines
@pytest.mark.dynamodb_engine
async def test_the_first_call_loads_no_service_model(
    table: DynamoTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the table is opened nothing is read from disk.

    The library's resource interface reads descriptions at its first use, which blocks the loop for
    250 ms.
    """
    with monkeypatch.context() as patch:
        async with open_table(table.client.meta.endpoint_url, REGION, table.name) as fresh:
            patch.setattr("botocore.loaders.JSONFileLoader.load_file", None)
            patch.setattr("botocore.session.Session.create_client", None)
            await fresh.transact([Put(item=item("first", n=1))])
            assert await fresh.get(Key("P", "first")) == item("first", n=1)


async def test_only_the_setting_says_where_the_table_is(monkeypatch: pytest.MonkeyPatch):
    """An endpoint in the AWS library's own variables does not redirect the money."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:2")
    async with library_client(None, REGION) as client:
        assert client.meta.endpoint_url == f"https://dynamodb.{REGION}.amazonaws.com"
    async with library_client("http://127.0.0.1:3", REGION) as client:
        assert client.meta.endpoint_url == "http://127.0.0.1:3"
