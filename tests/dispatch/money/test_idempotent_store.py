"""A write and the first answer to its request are one transaction."""

import pytest

from dispatch.clock import ManualClock
from dispatch.errors import Refusal, Refused
from dispatch.events.idempotency_records import RequestKey
from dispatch.money.idempotent_store import Answer, IdempotentStore, KeptRequest, WriteConflict
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Key, Put
from tests.dispatch.money.conftest import key

pytestmark = pytest.mark.engines


class NoteStore(IdempotentStore):
    """A store of notes that are written once."""

    async def write(self, text: str, request_key: RequestKey | None) -> Answer:
        """Write the only note."""
        item = {"PK": "NOTE", "SK": "NOTE", "text": text}
        put = Put(item=item, condition="attribute_not_exists(PK)")
        return await self._transact(
            [put], KeptRequest(answer={"text": text}, request_key=request_key)
        )

    async def read(self) -> str | None:
        """The note."""
        item = await self._table.get(Key("NOTE", "NOTE"))
        return None if item is None else item["text"]


@pytest.fixture
def store(table: DynamoTable) -> NoteStore:
    return NoteStore(table, ManualClock())


async def test_a_repeated_request_gets_the_first_answer(store: NoteStore):
    """The second write changes nothing, and answers as the first."""
    assert await store.find_answer(key("a")) is None
    assert await store.write("first", key("a")) == {"text": "first"}
    assert await store.write("second", key("a")) == {"text": "first"}
    assert await store.find_answer(key("a")) == {"text": "first"}
    assert await store.read() == "first"


async def test_another_body_under_the_same_key_is_a_conflict(store: NoteStore):
    """The key of one request cannot be used for another."""
    await store.write("first", key("a", b"one"))
    with pytest.raises(Refused) as raised:
        await store.write("second", key("a", b"two"))
    assert raised.value.code is Refusal.CONFLICT


@pytest.mark.parametrize("name", ["b", None])
async def test_a_failed_condition_of_a_new_request_is_named(store: NoteStore, name: str | None):
    """The conflict has the position of the write and the item that it met; nothing is kept."""
    await store.write("first", key("a"))
    request_key = None if name is None else key(name)
    with pytest.raises(WriteConflict) as raised:
        await store.write("second", request_key)
    assert raised.value.position == 0
    assert raised.value.item is None or raised.value.item["text"] == "first"
    assert await store.find_answer(request_key) is None


async def test_of_two_saved_answers_the_first_is_kept(store: NoteStore):
    """An answer without a transaction of its own is kept once for each key."""
    assert await store.save_answer(key("a"), {"n": 1}) == {"n": 1}
    assert await store.save_answer(key("a"), {"n": 2}) == {"n": 1}
    assert await store.save_answer(None, {"n": 3}) == {"n": 3}
