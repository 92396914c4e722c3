"""Storage of the fake: items, ranges and lagging indexes."""

from ledger.dynamodb.fake.storage import FakeTable, KeyRange
from ledger.dynamodb.fake.values import Image
from ledger.dynamodb.schema import TABLE_DEFINITION


def image(sk: str, **more: str) -> Image:
    return {"PK": {"S": "P"}, "SK": {"S": sk}, **{name: {"S": text} for name, text in more.items()}}


def put(table: FakeTable, sk: str, lag_s: float = 0.0, **more: str) -> None:
    table.put(("P", sk), image(sk, **more), lag_s)


def sks(found) -> list[str]:
    return [each["SK"]["S"] for each in found]


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def read(self) -> float:
        return self.now_s


def test_a_range_is_iterated_in_both_directions() -> None:
    """Items of a prefix come in order, forward or backward, after a position."""
    table = FakeTable(TABLE_DEFINITION, Clock().read)
    for sk in ("b2", "a", "b1", "b3"):
        put(table, sk)
    assert sks(table.iterate(KeyRange("P", "b", forward=True), None)) == ["b1", "b2", "b3"]
    assert sks(table.iterate(KeyRange("P", "b", forward=False), None)) == ["b3", "b2", "b1"]
    assert sks(table.iterate(KeyRange("P", "b", forward=True), "b1")) == ["b2", "b3"]
    assert sks(table.iterate(KeyRange("P", "", forward=False), "b2")) == ["b1", "a"]


def test_an_item_is_replaced_and_removed() -> None:
    """Get returns the last item that was put; a removed one is None."""
    table = FakeTable(TABLE_DEFINITION, Clock().read)
    put(table, "a", n="1")
    put(table, "a", n="2")
    assert table.get(("P", "a")) == image("a", n="2")
    table.put(("P", "a"), None, 0.0)
    assert table.get(("P", "a")) is None
    assert table.items == {}


def test_an_index_lags_and_ends_at_the_last_change() -> None:
    """Before the lag an index has the old item; a later change wins although it arrives first."""
    clock = Clock()
    table = FakeTable(TABLE_DEFINITION, clock.read)

    def indexed() -> list[Image]:
        index = table.caught_up_index("GSI1")
        assert index is not None
        return list(index.iterate(KeyRange("G", "", forward=True), None))

    put(table, "a", lag_s=5.0, GSI1PK="G", GSI1SK="1")
    put(table, "a", lag_s=1.0, GSI1PK="G", GSI1SK="2")
    assert indexed() == []
    clock.now_s = 2.0
    last = image("a", GSI1PK="G", GSI1SK="2")
    assert indexed() == [last]
    clock.now_s = 9.0
    assert indexed() == [last]
    put(table, "a", lag_s=0.0)
    assert indexed() == []
    assert table.caught_up_index("GSI9") is None
