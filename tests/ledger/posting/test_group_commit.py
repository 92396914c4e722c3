"""Group commit: the first request runs alone, those that arrive meanwhile run together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import pytest

from ledger.core.facts import Capture, Settle, TopUp
from ledger.core.order_funds import OrderFunds, mark_delivered
from ledger.core.pricing import DEFAULT_RATES, price_goods
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.fake import FakeDynamo, Fault, FaultInjector, Latencies
from ledger.dynamodb.schema import ensure_table
from ledger.posting.group_commit import BATCH_REQUESTS_MAX, GroupCommit
from ledger.posting.ledger import Ledger
from ledger.posting.transaction import PostedEntry
from tests import virtual_time
from tests.ledger.scenarios.auditor import find_breaks, items_of
from tests.ledger.scenarios.seeded_randomness import seed_randomness

T = TypeVar("T")
TABLE = "group-commit"
PRICING = price_goods(DEFAULT_RATES["FOOD"], 11_999)


class RecordingRunner:
    """Answers after a second, and records which requests ran together."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.runs: list[list[int]] = []
        self._refuses = refuses

    async def run_one(self, number: int) -> str:
        await virtual_time.sleep(1)
        self.runs.append([number])
        if number < 0:
            raise ValueError(f"{number} is below zero")
        return f"alone {number}"

    async def run_batch(self, numbers: Sequence[int]) -> list[str] | None:
        await virtual_time.sleep(1)
        if self._refuses or min(numbers) < 0:
            return None
        self.runs.append(list(numbers))
        return [f"together {number}" for number in numbers]


def group_commit_of(runner: RecordingRunner) -> GroupCommit[int, str]:
    return GroupCommit(runner.run_one, runner.run_batch)


def test_requests_arriving_meanwhile_are_batched() -> None:
    """The first runs at once; the others run together, in their order, and none is left."""

    async def main() -> tuple[list[str], list[list[int]], int]:
        runner = RecordingRunner()
        group_commit = group_commit_of(runner)
        answers = await asyncio.gather(*(group_commit.submit("v", number) for number in range(12)))
        return answers, runner.runs, len(group_commit)

    answers, runs, left = virtual_time.run(main())
    assert runs == [[0], [*range(1, BATCH_REQUESTS_MAX + 1)], [9, 10, 11]]
    assert answers == ["alone 0", *(f"together {number}" for number in range(1, 12))]
    assert left == 0


def test_groups_do_not_wait_for_one_another() -> None:
    """Requests of two groups run independently."""

    async def main() -> list[list[int]]:
        runner = RecordingRunner()
        group_commit = group_commit_of(runner)
        await asyncio.gather(
            group_commit.submit("v", 1), group_commit.submit("w", 2), group_commit.submit("w", 3)
        )
        return runner.runs

    assert virtual_time.run(main()) == [[1], [2], [3]]


def test_a_refused_batch_runs_one_by_one() -> None:
    """After a refused batch each caller gets its own answer or error."""

    async def main() -> list[str | BaseException]:
        group_commit = group_commit_of(RecordingRunner(refuses=True))
        joined = (group_commit.submit("v", number) for number in (0, 1, -2, 3))
        return await asyncio.gather(*joined, return_exceptions=True)

    first, second, third, last = virtual_time.run(main())
    assert (first, second, last) == ("alone 0", "alone 1", "alone 3")
    assert str(third) == "-2 is below zero"


def test_a_cancelled_request_is_not_run() -> None:
    """A request cancelled while it waits is not run; those behind it are."""

    async def main() -> tuple[list[list[int]], str]:
        runner = RecordingRunner()
        group_commit = group_commit_of(runner)
        waiting = [asyncio.ensure_future(group_commit.submit("v", number)) for number in range(3)]
        await virtual_time.sleep(0.5)
        waiting[1].cancel()
        return runner.runs, await waiting[2]

    runs, answers = virtual_time.run(main())
    assert answers == "alone 2"
    assert runs == [[0], [2]]


def test_a_failed_first_request_does_not_block_the_others() -> None:
    """The requests behind a failed one are run."""

    async def main() -> list[str | BaseException]:
        group_commit = group_commit_of(RecordingRunner())
        joined = (group_commit.submit("v", number) for number in (-1, 2, 3))
        return await asyncio.gather(*joined, return_exceptions=True)

    first, *others = virtual_time.run(main())
    assert isinstance(first, ValueError)
    assert others == ["together 2", "together 3"]


# Settlements of one vendor.


class VendorSettlements:
    """Delivered orders of one vendor, on a fake table."""

    def __init__(self, faults: FaultInjector | None = None) -> None:
        clock = virtual_time.clock()
        self.fake = FakeDynamo(clock.monotonic_s, clock.sleep, Latencies(spread=0.5))
        self.table = DynamoTable(self.fake, TABLE)
        self.ledger = Ledger(self.table, clock.now_ms)
        self._faults = faults

    async def deliver_orders(self, count: int) -> list[OrderFunds]:
        """So many delivered orders that wait for settlement; their funds."""
        await ensure_table(self.table)
        funds: list[OrderFunds] = []
        for number in range(count):
            order_id, user_id = f"o{number}", f"u{number}"
            await self.ledger.post(TopUp(user_id, PRICING.total, "sandbox", f"p{number}"))
            await self.ledger.post(Capture(order_id, user_id, "ven_1", "WALLET", PRICING))
            await self.table.transact(mark_delivered(order_id, f"r{number % 5}", 1).writes)
            each = await self.ledger.get_funds(order_id)
            assert each is not None
            funds.append(each)
        self.fake.faults = self._faults or self.fake.faults
        return funds

    def find_breaks(self) -> list[str]:
        return find_breaks(items_of(self.fake, TABLE))

    def lines(self) -> list[int]:
        """Numbers of the vendor's wallet lines."""
        items = items_of(self.fake, TABLE)
        return sorted(i["seq"] for (pk, sk), i in items.items() if _is_line(pk, sk))


def _is_line(pk: str, sk: str) -> bool:
    return pk == "WALLET#VENDOR#ven_1" and sk.startswith("TXN#")


def run_scenario(
    scenario: Callable[[VendorSettlements], Awaitable[T]], faults: FaultInjector | None = None
) -> T:
    """Run a scenario on virtual time; its ledger must be consistent afterwards."""

    async def main() -> T:
        settlements = VendorSettlements(faults)
        answers = await scenario(settlements)
        assert settlements.find_breaks() == []
        return answers

    with seed_randomness(1):
        return virtual_time.run(main())


async def settle_all(
    settlements: VendorSettlements, funds: Sequence[OrderFunds]
) -> list[PostedEntry]:
    return await asyncio.gather(
        *(settlements.ledger.post(Settle(each.order_id), expected_funds=each) for each in funds)
    )


def test_a_busy_vendor_is_paid_by_few_transactions() -> None:
    """Forty settlements at once are forty entries and lines in a fifth of the transactions."""

    async def scenario(settlements: VendorSettlements) -> tuple[int, list[int], set[str]]:
        funds = await settlements.deliver_orders(40)
        before = settlements.table.counts.calls
        posted = await settle_all(settlements, funds)
        return (
            settlements.table.counts.calls - before,
            settlements.lines(),
            {p.entry_id for p in posted},
        )

    calls, lines, entries = run_scenario(scenario)
    assert lines == [*range(1, 41)]
    assert entries == {f"ORDER#o{number}/JE#SETTLE" for number in range(40)}
    assert calls <= 10


def test_each_caller_of_a_batch_gets_its_own_line() -> None:
    """The balances after the lines grow by the vendor's share of each order."""

    async def scenario(settlements: VendorSettlements) -> list[tuple[int, int]]:
        posted = await settle_all(settlements, await settlements.deliver_orders(20))
        lines = [each.lines["VENDOR#ven_1"] for each in posted]
        return sorted((line.seq, line.balance_after) for line in lines)

    share = PRICING.vendor_share
    assert run_scenario(scenario) == [(number, number * share) for number in range(1, 21)]


@pytest.mark.parametrize("seed", range(8))
def test_a_batch_under_faults_is_paid_once(seed: int) -> None:
    """Under conflicts, lost replies and throttling every caller is answered and paid once."""
    rates = {Fault.CONFLICT: 0.3, Fault.LOSE_REPLY: 0.2, Fault.THROTTLE: 0.1}

    async def scenario(settlements: VendorSettlements) -> tuple[int, list[int]]:
        posted = await settle_all(settlements, await settlements.deliver_orders(25))
        return len({each.entry_id for each in posted}), settlements.lines()

    assert run_scenario(scenario, FaultInjector(seed, rates)) == (25, [*range(1, 26)])


def test_the_same_order_twice_in_a_batch_is_paid_once() -> None:
    """Two callers with one order get the same entry; the others are not affected."""

    async def scenario(settlements: VendorSettlements) -> tuple[int, int]:
        funds = await settlements.deliver_orders(6)
        posted = await settle_all(settlements, [*funds, *funds])
        return len({each.entry_id for each in posted}), len(settlements.lines())

    assert run_scenario(scenario) == (6, 6)


def test_wrong_expected_funds_do_not_fail_the_others() -> None:
    """An order that is settled elsewhere meanwhile does not affect the others of its batch."""

    async def scenario(settlements: VendorSettlements) -> list[bool]:
        funds = await settlements.deliver_orders(9)
        other = Ledger(settlements.table, virtual_time.clock().now_ms)
        await other.post(Settle(funds[4].order_id))
        return [each.is_replayed for each in await settle_all(settlements, funds)]

    assert run_scenario(scenario) == [number == 4 for number in range(9)]
