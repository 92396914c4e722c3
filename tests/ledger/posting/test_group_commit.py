"""Requests of one busy account: alone where nobody waits, together where many do, each answered."""

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
TABLE = "crowds"
PRICING = price_goods(DEFAULT_RATES["FOOD"], 11_999)


class RecordingRunner:
    """Answers after a moment, and notes who came together."""

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


def group_commit_of(counter: RecordingRunner) -> GroupCommit[int, str]:
    return GroupCommit(counter.run_one, counter.run_batch)


def test_requests_arriving_meanwhile_are_batched() -> None:
    """The first does not wait; the others go together, in their order, and none is left behind."""

    async def main() -> tuple[list[str], list[list[int]], int]:
        counter = RecordingRunner()
        crowds = group_commit_of(counter)
        told = await asyncio.gather(*(crowds.submit("v", number) for number in range(12)))
        return told, counter.runs, len(crowds)

    told, served, left = virtual_time.run(main())
    assert served == [[0], [*range(1, BATCH_REQUESTS_MAX + 1)], [9, 10, 11]]
    assert told == ["alone 0", *(f"together {number}" for number in range(1, 12))]
    assert left == 0


def test_groups_do_not_wait_for_one_another() -> None:
    """Two names are two crowds."""

    async def main() -> list[list[int]]:
        counter = RecordingRunner()
        crowds = group_commit_of(counter)
        await asyncio.gather(crowds.submit("v", 1), crowds.submit("w", 2), crowds.submit("w", 3))
        return counter.runs

    assert virtual_time.run(main()) == [[1], [2], [3]]


def test_a_refused_batch_runs_one_by_one() -> None:
    """Where together is refused each gets his own answer or error, and nobody another one."""

    async def main() -> list[str | BaseException]:
        crowds = group_commit_of(RecordingRunner(refuses=True))
        joined = (crowds.submit("v", number) for number in (0, 1, -2, 3))
        return await asyncio.gather(*joined, return_exceptions=True)

    first, second, third, last = virtual_time.run(main())
    assert (first, second, last) == ("alone 0", "alone 1", "alone 3")
    assert str(third) == "-2 is below zero"


def test_a_cancelled_request_is_not_run() -> None:
    """A caller who gives up before his turn costs nothing; those behind him are served."""

    async def main() -> tuple[list[list[int]], str]:
        counter = RecordingRunner()
        crowds = group_commit_of(counter)
        waiting = [asyncio.ensure_future(crowds.submit("v", number)) for number in range(3)]
        await virtual_time.sleep(0.5)
        waiting[1].cancel()
        return counter.runs, await waiting[2]

    served, told = virtual_time.run(main())
    assert told == "alone 2"
    assert served == [[0], [2]]


def test_a_failed_first_request_does_not_block_the_others() -> None:
    """The crowd behind a failed request moves on."""

    async def main() -> list[str | BaseException]:
        crowds = group_commit_of(RecordingRunner())
        joined = (crowds.submit("v", number) for number in (-1, 2, 3))
        return await asyncio.gather(*joined, return_exceptions=True)

    first, *others = virtual_time.run(main())
    assert isinstance(first, ValueError)
    assert others == ["together 2", "together 3"]


# Settlements of one vendor.


class VendorSettlements:
    """Orders of one vendor that are handed over, on a fake that counts its transactions."""

    def __init__(self, faults: FaultInjector | None = None) -> None:
        clock = virtual_time.clock()
        self.fake = FakeDynamo(clock.monotonic_s, clock.sleep, Latencies(spread=0.5))
        self.table = DynamoTable(self.fake, TABLE)
        self.ledger = Ledger(self.table, clock.now_ms)
        self._faults = faults

    async def deliver_orders(self, count: int) -> list[OrderFunds]:
        """So many orders, whose money waits."""
        await ensure_table(self.table)
        fins: list[OrderFunds] = []
        for number in range(count):
            order_id, user_id = f"o{number}", f"u{number}"
            await self.ledger.post(TopUp(user_id, PRICING.total, "sandbox", f"p{number}"))
            await self.ledger.post(Capture(order_id, user_id, "ven_1", "WALLET", PRICING))
            await self.table.transact(mark_delivered(order_id, f"r{number % 5}", 1).writes)
            fin = await self.ledger.get_funds(order_id)
            assert fin is not None
            fins.append(fin)
        self.fake.faults = self._faults or self.fake.faults
        return fins

    def find_breaks(self) -> list[str]:
        return find_breaks(items_of(self.fake, TABLE))

    def lines(self) -> list[int]:
        """The numbers of the vendor's lines."""
        items = items_of(self.fake, TABLE)
        return sorted(i["seq"] for (pk, sk), i in items.items() if _is_line(pk, sk))


def _is_line(pk: str, sk: str) -> bool:
    return pk == "WALLET#VENDOR#ven_1" and sk.startswith("TXN#")


def run_scenario(
    scenario: Callable[[VendorSettlements], Awaitable[T]], faults: FaultInjector | None = None
) -> T:
    """A story of one house on virtual time; its books are right in the end."""

    async def main() -> T:
        house = VendorSettlements(faults)
        told = await scenario(house)
        assert house.find_breaks() == []
        return told

    with seed_randomness(1):
        return virtual_time.run(main())


async def settle_all(house: VendorSettlements, fins: Sequence[OrderFunds]) -> list[PostedEntry]:
    return await asyncio.gather(
        *(house.ledger.post(Settle(fin.order_id), expected_funds=fin) for fin in fins)
    )


def test_a_busy_vendor_is_paid_by_few_transactions() -> None:
    """Forty orders at once: an entry and a line for each, in a fifth of the transactions."""

    async def story(house: VendorSettlements) -> tuple[int, list[int], set[str]]:
        fins = await house.deliver_orders(40)
        before = house.table.counts.calls
        posted = await settle_all(house, fins)
        return house.table.counts.calls - before, house.lines(), {p.entry_id for p in posted}

    calls, lines, entries = run_scenario(story)
    assert lines == [*range(1, 41)]
    assert entries == {f"ORDER#o{number}/JE#SETTLE" for number in range(40)}
    assert calls <= 10


def test_each_caller_of_a_batch_gets_its_own_line() -> None:
    """The vendor's balance after each entry grows by what that order brought."""

    async def story(house: VendorSettlements) -> list[tuple[int, int]]:
        posted = await settle_all(house, await house.deliver_orders(20))
        lines = [each.lines["VENDOR#ven_1"] for each in posted]
        return sorted((line.seq, line.balance_after) for line in lines)

    share = PRICING.vendor_share
    assert run_scenario(story) == [(number, number * share) for number in range(1, 21)]


@pytest.mark.parametrize("seed", range(8))
def test_a_batch_under_faults_is_paid_once(seed: int) -> None:
    """Conflicts, lost replies and throttling: everybody is told, and nobody is paid twice."""
    rates = {Fault.CONFLICT: 0.3, Fault.LOSE_REPLY: 0.2, Fault.THROTTLE: 0.1}

    async def story(house: VendorSettlements) -> tuple[int, list[int]]:
        posted = await settle_all(house, await house.deliver_orders(25))
        return len({each.entry_id for each in posted}), house.lines()

    assert run_scenario(story, FaultInjector(seed, rates)) == (25, [*range(1, 26)])


def test_the_same_order_twice_in_a_batch_is_paid_once() -> None:
    """Two callers with one order hear the same; the others are not disturbed."""

    async def story(house: VendorSettlements) -> tuple[int, int]:
        fins = await house.deliver_orders(6)
        posted = await settle_all(house, [*fins, *fins])
        return len({each.entry_id for each in posted}), len(house.lines())

    assert run_scenario(story) == (6, 6)


def test_wrong_expected_funds_do_not_fail_the_others() -> None:
    """One order is settled by somebody else meanwhile: all others are paid all the same."""

    async def story(house: VendorSettlements) -> list[bool]:
        fins = await house.deliver_orders(9)
        other = Ledger(house.table, virtual_time.clock().now_ms)
        await other.post(Settle(fins[4].order_id))
        return [each.is_replayed for each in await settle_all(house, fins)]

    assert run_scenario(story) == [number == 4 for number in range(9)]
