"""Random transactions: the fake and the real engine answer them alike."""

import asyncio
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dispatch.clock import ManualClock
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.fake import FakeDynamo
from ledger.dynamodb.requests import write_request
from ledger.dynamodb.schema import ensure_table
from ledger.dynamodb.table import (
    Check,
    Delete,
    Key,
    Put,
    Query,
    Update,
    Write,
)

pytestmark = [pytest.mark.engines, pytest.mark.dynamodb_engine]

PLACES = "abc"
NUMBERS = st.integers(0, 2)
OTHERS = st.sampled_from(["", "x", "xy", True, [1, {"n": 2}]])
KEPT = st.one_of(NUMBERS, NUMBERS, OTHERS)
ATTRIBUTES = st.fixed_dictionaries({}, optional={"n": KEPT, "m": KEPT, "t": OTHERS})
INDEXED = st.one_of(
    st.just({}), st.builds(lambda i: {"GSI1PK": "G", "GSI1SK": f"{i}"}, st.integers(0, 3))
)
NAMES = ["n", "n", "#m", "t", "t", "PK", "GSI1SK"]
COMPARED = st.builds(
    "{} {} {}".format,
    st.sampled_from(NAMES),
    st.sampled_from(["=", "<>", "<", "<=", ">", ">="]),
    st.sampled_from([":one", ":x", "n", "#m"]),
)
SINGLE = st.one_of(
    COMPARED,
    st.builds("attribute_exists({})".format, st.sampled_from(NAMES)),
    st.builds("attribute_not_exists({})".format, st.sampled_from(NAMES)),
    st.builds("{} IN (:one, :x)".format, st.sampled_from(NAMES)),
    st.builds("{} BETWEEN :zero AND :one".format, st.sampled_from(["n", "#m"])),
    st.builds("begins_with({}, :x)".format, st.sampled_from(["t", "PK"])),
)
CONDITIONS = st.recursive(
    SINGLE,
    lambda inner: st.one_of(
        st.builds("{} AND ({} OR {})".format, SINGLE, inner, inner),
        st.builds("{} OR {} AND {}".format, SINGLE, SINGLE, SINGLE),
        st.builds("NOT ({} AND {})".format, inner, SINGLE),
    ),
    max_leaves=4,
)
UPDATES = st.sampled_from(
    [
        "SET n = :one",
        "SET n = n + :one",
        "SET n = if_not_exists(n, :zero) - :one, #m = t",
        "SET #m = if_not_exists(#m, :x) REMOVE t",
        "REMOVE n, #m",
        "REMOVE GSI1PK, GSI1SK",
        "SET GSI1PK = :x, GSI1SK = :x",
        "SET t = n, n = #m",
    ]
)
VALUES: dict[str, Any] = {":zero": 0, ":one": 1, ":x": "x"}


def used_placeholders(*texts: str | None) -> dict[str, Any]:
    """Names and values that the texts use, and no others."""
    used = " ".join(text for text in texts if text)
    return {
        "names": {"#m": "m"} if "#m" in used else {},
        "values": {name: value for name, value in VALUES.items() if name in used},
    }


@st.composite
def writes(draw: st.DrawFn) -> list[Write]:
    """One transaction over few items, so that transactions touch the same ones."""
    made: list[Write] = []
    for sk in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3, unique=True)):
        key = Key("P", sk)
        condition = draw(st.one_of(st.none(), CONDITIONS))
        verb = draw(st.sampled_from(["put", "update", "delete", "check"]))
        match verb:
            case "put":
                item = {"PK": "P", "SK": sk, **draw(ATTRIBUTES), **draw(INDEXED)}
                made.append(Put(item=item, condition=condition, **used_placeholders(condition)))
            case "update":
                text = draw(UPDATES)
                more = used_placeholders(condition, text)
                made.append(Update(key=key, expression=text, condition=condition, **more))
            case "delete":
                made.append(Delete(key=key, condition=condition, **used_placeholders(condition)))
            case _:
                asked = condition or "attribute_exists(PK)"
                made.append(Check(key=key, condition=asked, **used_placeholders(asked)))
    return made


async def send(table: DynamoTable, transaction: list[Write]) -> object:
    """The answer: None, an error code, or the codes and items of all reasons."""
    request = [write_request(table.name, write) for write in transaction]
    try:
        await table.client.transact_write_items(TransactItems=request)
    except ClientError as error:
        answer: Any = error.response
        reasons = answer.get("CancellationReasons")
        if reasons is None:
            return answer["Error"]["Code"]
        return [(each["Code"], each.get("Item")) for each in reasons]
    return None


async def read_all(table: DynamoTable) -> list[object]:
    whole = await table.query(Query(pk="P"))
    index = await table.query(Query(pk="G", index="GSI1", equals={"n": 1}, forward=False))
    odd = await table.query(Query(pk="x", index="GSI1"))
    batch = await table.get_many([Key("P", sk) for sk in "abcd"])
    ordered = sorted(index.items, key=lambda item: (item["GSI1SK"], item["SK"]))
    return [whole.items, ordered, odd.items, batch]


FIRST = st.tuples(
    *(
        st.builds(
            lambda sk, kept, index: Put(item={"PK": "P", "SK": sk, **kept, **index}),
            st.just(sk),
            ATTRIBUTES,
            INDEXED,
        )
        for sk in PLACES
    )
)


@pytest.mark.slow
@settings(
    max_examples=2 * settings.default.max_examples,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(first=FIRST, transactions=st.lists(writes(), min_size=4, max_size=8))
async def test_fake_and_engine_answer_random_transactions_alike(
    table: DynamoTable, first: tuple[Write, ...], transactions: list[list[Write]]
) -> None:
    """Answers, reasons and old items are the same, and so are the items afterwards."""
    fake = DynamoTable(FakeDynamo(ManualClock().monotonic_s, lambda _: asyncio.sleep(0)), "fake")
    await ensure_table(fake)
    for transaction in [[*first], *transactions]:
        assert await send(fake, transaction) == await send(table, transaction)
    assert await read_all(fake) == await read_all(table)
