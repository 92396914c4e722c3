"""Reads of single items that share a call where many are asked for at about the same time."""

from collections.abc import Awaitable, Callable, Sequence

from concurrency.request_batcher import BatcherLimits, RequestBatcher
from ledger.dynamodb.table import Item, Key, TableUnavailable

# Source: API limit of BatchGetItem.
BATCH_MAX = 100
# Above so many reads a second a call of a few of them would cost more than all the rest of what is
# served: they wait up to 20 ms and go by the dozen.
# Source: measured 2026-11-21, a call costs 0.9 ms of CPU and each read of it 0.05 ms; some hundred
# apps that come back each second ask two thousand times.
READ_LIMITS = BatcherLimits(
    concurrent_calls_max=2,
    batch_max=BATCH_MAX,
    waiting_max=20_000,
    unbatched_per_s=1_000,
    unbatched_burst=32,
    linger_s=0.02,
)

GetOne = Callable[[Key], Awaitable[Item | None]]
GetBatch = Callable[[Sequence[Key]], Awaitable[list[Item | None]]]


def batch_reads(get_one: GetOne, get_batch: GetBatch) -> RequestBatcher[Key, Item | None]:
    """Asks `one` for a key that nobody shares a call with, `many` for several."""

    async def run(keys: Sequence[Key]) -> list[Item | None]:
        return [await get_one(keys[0])] if len(keys) == 1 else await get_batch(keys)

    return RequestBatcher(run, READ_LIMITS, TableUnavailable)
