"""An unavailable table is StoreUnavailable in every store."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from dispatch.accounts.duty import Duty
from dispatch.accounts.standing import StandingRules
from dispatch.catalogue.service_rates import ServiceRates
from dispatch.catalogue.store import Catalogue
from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.events.idempotency_records import request_key
from dispatch.events.kept_answers import KeptAnswers
from dispatch.riders.store import Riders
from ledger.dynamodb.table import (
    Item,
    Key,
    Page,
    Query,
    TableUnavailable,
    Write,
)

CLOCK, RULES = ManualClock(), StandingRules()


class UnavailableTable:
    """A table whose every operation raises TableUnavailable."""

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


UNAVAILABLE_TABLE = UnavailableTable()


@pytest.mark.parametrize(
    "call",
    [
        lambda: Catalogue(UNAVAILABLE_TABLE, CLOCK).vendor("ven_1"),
        lambda: Catalogue(UNAVAILABLE_TABLE, CLOCK).items("ven_1", 5),
        lambda: Catalogue(UNAVAILABLE_TABLE, CLOCK).items_by_id("ven_1", ["a"]),
        lambda: Duty(UNAVAILABLE_TABLE, RULES, CLOCK).set_vendor_online("ven_1", online=True),
        lambda: ServiceRates(UNAVAILABLE_TABLE, CLOCK).rates(),
        lambda: Riders(UNAVAILABLE_TABLE, CLOCK).workload_and_stats("rdr_1"),
        lambda: KeptAnswers(UNAVAILABLE_TABLE, CLOCK).find(request_key("user:a", "k", b"")),
        lambda: KeptAnswers(UNAVAILABLE_TABLE, CLOCK).save(request_key("user:a", "k", b""), {}),
    ],
)
async def test_unavailable_table_raises_store_unavailable(
    call: Callable[[], Coroutine[Any, Any, object]],
):
    """Reads and writes of the stores raise StoreUnavailable with the table's message."""
    with pytest.raises(StoreUnavailable, match="away"):
        await call()
