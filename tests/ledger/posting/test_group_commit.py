"""Requests of one busy account: alone where nobody waits, together where many do, each answered."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import pytest

from ledger.core.facts import Capture, Settle, TopUp
from ledger.core.order_funds import Fin, mark_delivered
from ledger.core.pricing import DEFAULT_RATES, price_goods
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.fake import FakeDynamo, Fault, Faults, Pace
from ledger.dynamodb.schema import ensure_table
from ledger.posting.group_commit import TOGETHER_MAX, Crowds
from ledger.posting.ledger import Ledger
from ledger.posting.transaction import Posted
from tests import virtual_time
from tests.ledger.scenarios.auditor import breaks, items_of
from tests.ledger.scenarios.random_choices import seeded

T = TypeVar("T")
TABLE = "crowds"
PRICING = price_goods(DEFAULT_RATES["FOOD"], 11_999)


class Counter:
    """Answers after a moment, and notes who came together."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.served: list[list[int]] = []
        self._refuses = refuses

    async def alone(self, number: int) -> str:
        await virtual_time.sleep(1)
        self.served.append([number])
        if number < 0:
            raise ValueError(f"{number} is below zero")
        return f"alone {number}"

    async def together(self, numbers: Sequence[int]) -> list[str] | None:
        await virtual_time.sleep(1)
        if self._refuses or min(numbers) < 0:
            return None
        self.served.append(list(numbers))
        return [f"together {number}" for number in numbers]


def crowd_of(counter: Counter) -> Crowds[int, str]:
    return Crowds(counter.alone, counter.together)


def test_whoever_comes_meanwhile_goes_with_the_next() -> None:
    """The first does not wait; the others go together, in their order, and none is left behind."""

    async def main() -> tuple[list[str], list[list[int]], int]:
        counter = Counter()
        crowds = crowd_of(counter)
        told = await asyncio.gather(*(crowds.join("v", number) for number in range(12)))
        return told, counter.served, len(crowds)

    told, served, left = virtual_time.run(main())
    assert served == [[0], [*range(1, TOGETHER_MAX + 1)], [9, 10, 11]]
    assert told == ["alone 0", *(f"together {number}" for number in range(1, 12))]
    assert left == 0


def test_crowds_do_not_wait_for_one_another() -> None:
    """Two names are two crowds."""

    async def main() -> list[list[int]]:
        counter = Counter()
        crowds = crowd_of(counter)
        await asyncio.gather(crowds.join("v", 1), crowds.join("w", 2), crowds.join("w", 3))
        return counter.served

    assert virtual_time.run(main()) == [[1], [2], [3]]


def test_who_cannot_go_together_goes_alone() -> None:
    """Where together is refused each gets his own answer or error, and nobody another one."""

    async def main() -> list[str | BaseException]:
        crowds = crowd_of(Counter(refuses=True))
        joined = (crowds.join("v", number) for number in (0, 1, -2, 3))
        return await asyncio.gather(*joined, return_exceptions=True)

    first, second, third, last = virtual_time.run(main())
    assert (first, second, last) == ("alone 0", "alone 1", "alone 3")
    assert str(third) == "-2 is below zero"


def test_whoever_has_gone_is_not_served() -> None:
    """A caller who gives up before his turn costs nothing; those behind him are served."""

    async def main() -> tuple[list[list[int]], str]:
        counter = Counter()
        crowds = crowd_of(counter)
        waiting = [asyncio.ensure_future(crowds.join("v", number)) for number in range(3)]
        await virtual_time.sleep(0.5)
        waiting[1].cancel()
        return counter.served, await waiting[2]

    served, told = virtual_time.run(main())
    assert told == "alone 2"
    assert served == [[0], [2]]


def test_a_first_that_fails_does_not_hold_the_others_up() -> None:
    """The crowd behind a failed request moves on."""

    async def main() -> list[str | BaseException]:
        crowds = crowd_of(Counter())
        joined = (crowds.join("v", number) for number in (-1, 2, 3))
        return await asyncio.gather(*joined, return_exceptions=True)

    first, *others = virtual_time.run(main())
    assert isinstance(first, ValueError)
    assert others == ["together 2", "together 3"]


# Settlements of one vendor.


class House:
    """Orders of one vendor that are handed over, on a fake that counts its transactions."""

    def __init__(self, faults: Faults | None = None) -> None:
        clock = virtual_time.clock()
        self.fake = FakeDynamo(clock.monotonic_s, clock.sleep, Pace(spread=0.5))
        self.table = DynamoTable(self.fake, TABLE)
        self.ledger = Ledger(self.table, clock.now_ms)
        self._faults = faults

    async def deliver(self, count: int) -> list[Fin]:
        """So many orders, whose money waits."""
        await ensure_table(self.table)
        fins: list[Fin] = []
        for number in range(count):
            order_id, user_id = f"o{number}", f"u{number}"
            await self.ledger.post(TopUp(user_id, PRICING.total, "sandbox", f"p{number}"))
            await self.ledger.post(Capture(order_id, user_id, "ven_1", "WALLET", PRICING))
            await self.table.transact(mark_delivered(order_id, f"r{number % 5}", 1).writes)
            fin = await self.ledger.fin(order_id)
            assert fin is not None
            fins.append(fin)
        self.fake.faults = self._faults or self.fake.faults
        return fins

    def breaks(self) -> list[str]:
        return breaks(items_of(self.fake, TABLE))

    def lines(self) -> list[int]:
        """The numbers of the vendor's lines."""
        items = items_of(self.fake, TABLE)
        return sorted(i["seq"] for (pk, sk), i in items.items() if _is_line(pk, sk))


def _is_line(pk: str, sk: str) -> bool:
    return pk == "WALLET#VENDOR#ven_1" and sk.startswith("TXN#")


def tell(story: Callable[[House], Awaitable[T]], faults: Faults | None = None) -> T:
    """A story of one house on virtual time; its books are right in the end."""

    async def main() -> T:
        house = House(faults)
        told = await story(house)
        assert house.breaks() == []
        return told

    with seeded(1):
        return virtual_time.run(main())


async def settle_all(house: House, fins: Sequence[Fin]) -> list[Posted]:
    return await asyncio.gather(
        *(house.ledger.post(Settle(fin.order_id), believed=fin) for fin in fins)
    )


def test_a_busy_vendor_is_paid_by_few_transactions() -> None:
    """Forty orders at once: an entry and a line for each, in a fifth of the transactions."""

    async def story(house: House) -> tuple[int, list[int], set[str]]:
        fins = await house.deliver(40)
        before = house.table.counts.calls
        posted = await settle_all(house, fins)
        return house.table.counts.calls - before, house.lines(), {p.entry_id for p in posted}

    calls, lines, entries = tell(story)
    assert lines == [*range(1, 41)]
    assert entries == {f"ORDER#o{number}/JE#SETTLE" for number in range(40)}
    assert calls <= 10


def test_each_of_a_crowd_is_told_his_own_line() -> None:
    """The vendor's balance after each entry grows by what that order brought."""

    async def story(house: House) -> list[tuple[int, int]]:
        posted = await settle_all(house, await house.deliver(20))
        lines = [each.lines["VENDOR#ven_1"] for each in posted]
        return sorted((line.seq, line.balance_after) for line in lines)

    share = PRICING.vendor_share
    assert tell(story) == [(number, number * share) for number in range(1, 21)]


@pytest.mark.parametrize("seed", range(8))
def test_a_crowd_on_a_bad_day_is_paid_once(seed: int) -> None:
    """Conflicts, lost replies and throttling: everybody is told, and nobody is paid twice."""
    rates = {Fault.CONFLICT: 0.3, Fault.LOSE_REPLY: 0.2, Fault.THROTTLE: 0.1}

    async def story(house: House) -> tuple[int, list[int]]:
        posted = await settle_all(house, await house.deliver(25))
        return len({each.entry_id for each in posted}), house.lines()

    assert tell(story, Faults(seed, rates)) == (25, [*range(1, 26)])


def test_the_same_order_twice_in_a_crowd_is_paid_once() -> None:
    """Two callers with one order hear the same; the others are not disturbed."""

    async def story(house: House) -> tuple[int, int]:
        fins = await house.deliver(6)
        posted = await settle_all(house, [*fins, *fins])
        return len({each.entry_id for each in posted}), len(house.lines())

    assert tell(story) == (6, 6)


def test_one_who_believes_wrongly_does_not_spoil_the_others() -> None:
    """One order is settled by somebody else meanwhile: all others are paid all the same."""

    async def story(house: House) -> list[bool]:
        fins = await house.deliver(9)
        other = Ledger(house.table, virtual_time.clock().now_ms)
        await other.post(Settle(fins[4].order_id))
        return [each.replayed for each in await settle_all(house, fins)]

    assert tell(story) == [number == 4 for number in range(9)]
