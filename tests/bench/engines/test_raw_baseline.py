"""Recording and replaying of transactions, and the figures of a comparison."""

from typing import Any

from bench.engines.raw_baseline import (
    LEAN_TABLE,
    RAW_TABLE,
    WORKERS,
    Comparison,
    RecordingClient,
    time_workers,
)


class StubClient:
    """Keeps the transactions that it is sent."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.name = "stub"

    async def transact_write_items(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        return {}


def transaction(table: str, number: int) -> dict[str, Any]:
    put = {"Put": {"TableName": table, "Item": {"PK": {"S": f"{number}"}}}}
    return {"TransactItems": [put], "ClientRequestToken": f"token_{number}"}


def tables_of(requests: list[dict[str, Any]]) -> list[str]:
    return [request["TransactItems"][0]["Put"]["TableName"] for request in requests]


async def test_recorded_transactions_are_replayed_into_both_tables():
    """Each recorded transaction goes into both other tables, with a token of its own, once."""
    stub = StubClient()
    recorder = RecordingClient(stub)
    for number in range(2):
        await recorder.transact_write_items(**transaction("product", number))
    assert len(recorder) == 2
    await recorder.replay_in_order()
    assert tables_of(stub.requests[2:]) == [RAW_TABLE, LEAN_TABLE] * 2
    assert len({request["ClientRequestToken"] for request in stub.requests}) == 6
    assert len(recorder) == 0
    assert recorder.name == "stub"


async def test_recorded_transactions_are_replayed_by_their_workers():
    """Every worker's transactions are sent once, in its own sequence, through another client."""
    stub, other = StubClient(), StubClient()
    recorder = RecordingClient(stub)

    async def write(worker: int) -> None:
        for number in range(3):
            await recorder.transact_write_items(**transaction("product", 10 * worker + number))

    await time_workers(write)
    elapsed = await recorder.replay_concurrently(RAW_TABLE, other)
    assert elapsed.wall_s > 0
    assert tables_of(other.requests) == [RAW_TABLE] * 3 * WORKERS
    sent = [int(each["TransactItems"][0]["Put"]["Item"]["PK"]["S"]) for each in other.requests]
    for worker in range(WORKERS):
        own = [number for number in sent if number // 10 == worker]
        assert own == [10 * worker + number for number in range(3)]


def test_a_comparison_has_rates_shares_and_costs():
    """100 transactions in 2 s, raw in 1 s, lean in half a second."""
    comparison = Comparison(100, 2.0, 1.0, 0.5, 0.3, 0.2, 0.1)
    assert comparison.figures("settle") == {
        "settle_per_s": 50.0,
        "settle_raw_per_s": 100.0,
        "settle_to_raw": 0.5,
    }
    assert comparison.costs("settle") == {
        "settle_cpu_us": 3_000,
        "settle_raw_cpu_us": 2_000,
        "settle_lean_per_s": 200.0,
        "settle_lean_cpu_us": 1_000,
    }
