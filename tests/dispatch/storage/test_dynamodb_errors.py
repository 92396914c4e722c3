"""What the stores say when the table is away."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from dispatch.catalogue.service_rates import Config
from dispatch.catalogue.store import Catalogue
from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.events.idempotency_records import receipt_for
from dispatch.events.kept_answers import Answers
from dispatch.riders.store import Riders
from ledger.dynamodb.table import (
    Item,
    Key,
    Page,
    Query,
    TableUnavailable,
    Write,
)

CLOCK = ManualClock()


class Away:
    """A table whose engine does not answer."""

    async def get(self, key: Key) -> Item | None:
        raise TableUnavailable("away")

    async def get_many(self, keys: Sequence[Key]) -> list[Item | None]:
        raise TableUnavailable("away")

    async def snapshot(self, keys: Sequence[Key]) -> list[Item | None]:
        raise TableUnavailable("away")

    async def query(self, query: Query) -> Page:
        raise TableUnavailable("away")

    async def transact(self, writes: Sequence[Write], token: str | None = None) -> None:
        raise TableUnavailable("away")


AWAY = Away()


@pytest.mark.parametrize(
    "ask",
    [
        lambda: Catalogue(AWAY, CLOCK).vendor("ven_1"),
        lambda: Catalogue(AWAY, CLOCK).items("ven_1", 5),
        lambda: Catalogue(AWAY, CLOCK).items_by_id("ven_1", ["a"]),
        lambda: Catalogue(AWAY, CLOCK).set_online("ven_1", online=True),
        lambda: Config(AWAY, CLOCK).services(),
        lambda: Riders(AWAY, CLOCK).duty_and_stats("rdr_1"),
        lambda: Answers(AWAY, CLOCK).find(receipt_for("user:a", "k", b"")),
        lambda: Answers(AWAY, CLOCK).keep(receipt_for("user:a", "k", b""), {}),
    ],
)
async def test_a_store_that_is_away_says_so(ask: Callable[[], Coroutine[Any, Any, object]]):
    """Every store raises StoreUnavailable, which callers may answer by trying again."""
    with pytest.raises(StoreUnavailable, match="away"):
        await ask()
