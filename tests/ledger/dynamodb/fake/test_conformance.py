"""The fake DynamoDB and the real engine answer the same requests alike."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import pytest_asyncio
from botocore.exceptions import ClientError

from dispatch.clock import ManualClock
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.fake import FakeDynamo
from ledger.dynamodb.schema import ensure_table

pytestmark = [pytest.mark.engines, pytest.mark.dynamodb_engine]

Attribute = dict[str, Any]
ATTRIBUTES: Attribute = {
    "n": {"N": "5"},
    "half": {"N": "0.5"},
    "s": {"S": "abc"},
    "yes": {"BOOL": True},
    "gone": {"NULL": True},
    "raw": {"B": b"\x01\x02"},
    "map": {"M": {"a": {"N": "1"}, "deep": {"M": {"b": {"S": "x"}}}}},
    "list": {"L": [{"N": "1"}, {"S": "two"}]},
}


def key(sk: str) -> Attribute:
    return {"PK": {"S": "P"}, "SK": {"S": sk}}


ITEM = {**key("a"), **ATTRIBUTES}


@pytest_asyncio.fixture(loop_scope="session")
async def fake_table() -> DynamoTable:
    """A table of the fake without latency, whose clock stands still."""
    made = DynamoTable(FakeDynamo(ManualClock().monotonic_s, lambda _: asyncio.sleep(0)), "fake")
    await ensure_table(made)
    return made


@pytest.fixture(params=["fake_table", "table"])
def fake_or_engine(request: pytest.FixtureRequest) -> DynamoTable:
    """A fresh table of the fake, then of the real engine."""
    return request.getfixturevalue(request.param)


async def write(table: DynamoTable, *parts: dict[str, Any], token: str | None = None) -> object:
    """The answer of a transaction: None, an error code, or codes and items of its reasons."""
    named = [
        {verb: {"TableName": table.name, **body} for verb, body in part.items()} for part in parts
    ]
    more = {} if token is None else {"ClientRequestToken": token}
    try:
        await table.client.transact_write_items(TransactItems=named, **more)
    except ClientError as error:
        return error_details(error)
    return None


def error_details(error: ClientError) -> object:
    answer: Any = error.response
    if "CancellationReasons" not in answer:
        return answer["Error"]["Code"]
    return [(each["Code"], each.get("Item")) for each in answer["CancellationReasons"]]


def is_request_refused(answer: object) -> bool:
    """Whether the request, or one write of it, was refused as invalid."""
    return answer in ("ValidationException", [("ValidationError", None)])


def put(item: Attribute, **more: object) -> dict[str, Any]:
    return {"Put": {"Item": item, **more}}


def check(condition: str, **more: object) -> dict[str, Any]:
    return {"ConditionCheck": {"Key": key("a"), "ConditionExpression": condition, **more}}


def update(expression: str, values: Attribute, names: dict[str, str]) -> dict[str, Any]:
    more: dict[str, Any] = {}
    more |= {"ExpressionAttributeValues": values} if values else {}
    more |= {"ExpressionAttributeNames": names} if names else {}
    return {"Update": {"Key": key("a"), "UpdateExpression": expression, **more}}


async def read(table: DynamoTable, sk: str = "a") -> Attribute | None:
    answer = await table.client.get_item(TableName=table.name, Key=key(sk), ConsistentRead=True)
    return answer.get("Item")


V = {":n": {"N": "5"}, ":m": {"N": "7"}, ":s": {"S": "abc"}, ":t": {"S": "ab"}}
HOLDS = [
    "n = :n",
    "n <> :m",
    "n < :m",
    "n <= :n",
    "n >= :n AND n < :m",
    "n BETWEEN :n AND :m",
    "n IN (:m, :n)",
    "s IN (:t, :s)",
    "begins_with(s, :t)",
    "NOT n = :m",
    "NOT (n = :m OR n > :m)",
    "attribute_exists(n)",
    "attribute_exists(PK)",
    "attribute_exists(#map.deep.b)",
    "attribute_not_exists(#map.deep.c)",
    "attribute_not_exists(nothing)",
    "attribute_exists(gone)",
    "nothing <> :n",
    "s <> :n",
    "half < n",
    "#map.a < n",
    "n = :m OR n = :n AND s = :s",
    "(n = :m OR n = :n) AND s = :s",
    "n = :n or n = :m",
    "yes = :yes",
    "#raw = :raw",
    "#list = :list",
    "#map = :map",
    "n = :long",
    "PK = :pk",
]
FAILS = [
    "n = :m",
    "n = :s",
    "n <> :n",
    "n > :n",
    "s < :n",
    "s >= :n",
    "nothing = :n",
    "nothing < :n",
    "nothing >= :n",
    "NOT attribute_exists(n)",
    "n BETWEEN :m AND :n",
    "nothing BETWEEN :n AND :m",
    "n IN (:m, :s)",
    "nothing IN (:n)",
    "begins_with(n, :t)",
    "begins_with(nothing, :t)",
    "(n = :n OR n = :m) AND s = :t",
    "attribute_exists(s.deep)",
    "gone = :n",
    "#map = :n",
]
ALL = {
    **V,
    ":yes": {"BOOL": True},
    ":raw": {"B": b"\x01\x02"},
    ":list": ATTRIBUTES["list"],
    ":map": ATTRIBUTES["map"],
    ":long": {"N": "5.00"},
    ":pk": {"S": "P"},
}


def used_placeholders(text: str) -> dict[str, Any]:
    """The names and values that a text uses, and no others."""
    words = set(
        text.replace("(", " ").replace(")", " ").replace(",", " ").replace(".", " ").split()
    )
    names = {word: word[1:] for word in sorted(words) if word.startswith("#")}
    values = {word: ALL[word] for word in sorted(words) if word.startswith(":")}
    more = {"ExpressionAttributeNames": names, "ExpressionAttributeValues": values}
    return {name: given for name, given in more.items() if given}


async def test_conditions_hold(fake_or_engine: DynamoTable) -> None:
    """Each of these conditions holds for the item."""
    await write(fake_or_engine, put(ITEM))
    assert {
        text: await write(fake_or_engine, check(text, **used_placeholders(text))) for text in HOLDS
    } == dict.fromkeys(HOLDS)


async def test_conditions_fail(fake_or_engine: DynamoTable) -> None:
    """Each of these conditions fails for the item."""
    await write(fake_or_engine, put(ITEM))
    assert {
        text: await write(fake_or_engine, check(text, **used_placeholders(text))) for text in FAILS
    } == {text: [("ConditionalCheckFailed", None)] for text in FAILS}


ONE: Attribute = {":one": {"N": "1"}}
UPDATES: list[tuple[str, Attribute, Attribute]] = [
    ("SET n = n + :one", ONE, {**ATTRIBUTES, "n": {"N": "6"}}),
    (
        "SET n = n - :one, half = half + n",
        ONE,
        {**ATTRIBUTES, "n": {"N": "4"}, "half": {"N": "5.5"}},
    ),
    ("SET fresh = if_not_exists(fresh, :one) + :one", ONE, {**ATTRIBUTES, "fresh": {"N": "2"}}),
    ("SET n = if_not_exists(n, :one) + :one", ONE, {**ATTRIBUTES, "n": {"N": "6"}}),
    ("SET fresh = n, n = :one", ONE, {**ATTRIBUTES, "fresh": {"N": "5"}, "n": {"N": "1"}}),
    ("SET fresh = if_not_exists(nothing, n)", {}, {**ATTRIBUTES, "fresh": {"N": "5"}}),
    ("set fresh = :one remove n, nothing", ONE, {**ATTRIBUTES, "fresh": {"N": "1"}, "n": None}),
    ("REMOVE n, s SET fresh = s", {}, {**ATTRIBUTES, "fresh": {"S": "abc"}, "n": None, "s": None}),
    ("SET fresh = :v", {":v": {"N": "-0.50e2"}}, {**ATTRIBUTES, "fresh": {"N": "-50"}}),
    ("SET fresh = :v", {":v": {"S": ""}}, {**ATTRIBUTES, "fresh": {"S": ""}}),
    ("SET fresh = #map", {}, {**ATTRIBUTES, "fresh": ATTRIBUTES["map"]}),
]


@pytest.mark.parametrize(("text", "values", "after"), UPDATES)
async def test_updates_change_the_item(
    fake_or_engine: DynamoTable, text: str, values: Attribute, after: Attribute
) -> None:
    """An update reads the item before it and leaves what it does not name."""
    await write(fake_or_engine, put(ITEM))
    names = {"#map": "map"} if "#map" in text else {}
    assert await write(fake_or_engine, update(text, values, names)) is None
    kept = {name: value for name, value in after.items() if value is not None}
    assert await read(fake_or_engine) == {**key("a"), **kept}


async def test_an_update_makes_a_missing_item(fake_or_engine: DynamoTable) -> None:
    """A missing item is created with its key; deleting nothing is no error."""
    assert await write(fake_or_engine, update("SET n = :one", ONE, {})) is None
    assert await read(fake_or_engine) == {**key("a"), **ONE_N}
    assert await write(fake_or_engine, {"Delete": {"Key": key("zz")}}) is None


ONE_N = {"n": {"N": "1"}}
UNFIT: list[tuple[str, Attribute]] = [
    ("SET n = nothing + :one", ONE),
    ("SET n = s + :one", ONE),
    ("SET n = nothing", {}),
    ("SET GSI1PK = :one", ONE),
    ("SET GSI1PK = :empty", {":empty": {"S": ""}}),
    ("SET n = n + :huge", {":huge": {"N": "1" + "0" * 40}}),
]


@pytest.mark.parametrize(("text", "values"), UNFIT)
async def test_updates_that_do_not_fit_the_item_are_refused(
    fake_or_engine: DynamoTable, text: str, values: Attribute
) -> None:
    """An update that does not fit the item is refused, and nothing is written."""
    await write(fake_or_engine, put(ITEM))
    assert is_request_refused(await write(fake_or_engine, update(text, values, {})))
    assert await read(fake_or_engine) == ITEM


WRONG: list[Sequence[dict[str, Any]]] = [
    [],
    [put(ITEM), put(ITEM)],
    [put(ITEM), {"Delete": {"Key": key("a")}}],
    [put({**key(f"{i}"), **ONE_N}) for i in range(101)],
    [put({"PK": {"S": "P"}})],
    [put({"PK": {"S": ""}, "SK": {"S": "a"}})],
    [put({"PK": {"N": "1"}, "SK": {"S": "a"}})],
    [put({"PK": {"S": "x" * 2049}, "SK": {"S": "a"}})],
    [put({"PK": {"S": "P"}, "SK": {"S": "x" * 1025}})],
    [put({**ITEM, "GSI1PK": {"N": "1"}, "GSI1SK": {"S": "a"}})],
    [put({**ITEM, "GSI1PK": {"S": ""}, "GSI1SK": {"S": "a"}})],
    [put({**ITEM, "big": {"S": "x" * 409_600}})],
    [put({**ITEM, "n": {"N": "1" * 39}})],
    [put({**ITEM, "n": {"N": "1e126"}})],
    [put({**ITEM, "n": {"N": "1e-131"}})],
    [put({**ITEM, "n": {"N": "many"}})],
    [put({**key(f"{i}"), "big": {"S": "x" * 400_000}}) for i in range(11)],
    [update("SET n = :one SET s = :one", ONE, {})],
    [update("SET n = :one", {}, {})],
    [update("SET n = :one", {**ONE, ":two": {"N": "2"}}, {})],
    [update("SET #n = :one", ONE, {})],
    [update("SET n = :one", ONE, {"#n": "n"})],
    [update("SET n = :one,", ONE, {})],
    [update("SET n :one", ONE, {})],
    [update("PUT n = :one", ONE, {})],
    [check("n =")],
    [check("n")],
    [check("(attribute_exists(n)")],
    [check("attribute_exists(n))")],
    [check("((attribute_exists(n)))")],
    [check("attribute_exists(n) attribute_exists(s)")],
    [check("exists(n)")],
    [check("n + n = n")],
    [check("if_not_exists(n, n) = n")],
    [check("")],
]


@pytest.mark.parametrize("parts", WRONG, ids=range(len(WRONG)))
async def test_wrong_requests_are_refused(
    fake_or_engine: DynamoTable, parts: Sequence[dict[str, Any]]
) -> None:
    """A malformed request is refused, and nothing is written.

    The engine blames the one write where AWS and the fake refuse the request.
    """
    assert is_request_refused(await write(fake_or_engine, *parts))
    assert await read(fake_or_engine) is None


STRICT: list[Sequence[dict[str, Any]]] = [
    [update("SET PK = :one", ONE, {})],
    [update("SET n = :one, n = :one", ONE, {})],
    [update("SET n = :one REMOVE n", ONE, {})],
    [update("", {}, {})],
    [check("ATTRIBUTE_EXISTS(n)")],
    [check("n = :n[0]")],
    [update("SET #map.a = :one", ONE, {"#map": "map"})],
    [update("ADD n :one", ONE, {})],
    [update("SET n = list_append(n, :one)", ONE, {})],
]


@pytest.mark.parametrize("parts", STRICT, ids=range(len(STRICT)))
async def test_the_fake_refuses_what_the_engine_lets_through(
    fake_table: DynamoTable, parts: Sequence[dict[str, Any]]
) -> None:
    """AWS also refuses the first five; the rest is not used here, and the fake refuses it."""
    await write(fake_table, put(ITEM))
    assert await write(fake_table, *parts) == "ValidationException"
    assert await read(fake_table) == ITEM
