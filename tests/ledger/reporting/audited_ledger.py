"""A small ledger on the fake DynamoDB and virtual time, for tests of single audit stages."""

from collections.abc import Awaitable, Callable

from ledger.core.accounts import balance_key
from ledger.core.facts import Capture, Settle, TopUp
from ledger.core.order_funds import funds_key, mark_delivered
from ledger.core.pricing import DEFAULT_RATES, price_goods
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.fake import FakeDynamo
from ledger.dynamodb.schema import ensure_table
from ledger.dynamodb.table import Delete, Key, Put
from ledger.posting.ledger import Ledger
from ledger.reporting.audit_state import AuditSpan, AuditState, BreakPages
from tests import virtual_time
from tests.ledger.scenarios.seeded_randomness import seed_randomness

PRICING = price_goods(DEFAULT_RATES["FOOD"], 11_999)
Stage = Callable[[AuditState, AuditSpan], BreakPages]


class AuditedLedger:
    """A ledger, ways to change its items behind its back, and the stages of an audit."""

    def __init__(self) -> None:
        self.clock = virtual_time.clock()
        fake = FakeDynamo(self.clock.monotonic_s, self.clock.sleep)
        self.table = DynamoTable(fake, "ledger")
        self.ledger = Ledger(self.table, self.clock.now_ms)
        self.state = self.new_state()

    def new_state(self) -> AuditState:
        """The state of a new audit."""
        return AuditState(self.table, self.clock.now_ms, lambda: None)

    async def deliver(self, order_id: str) -> None:
        """A paid order that is delivered and waits for settlement."""
        await self.ledger.post(TopUp("u", PRICING.total, "sandbox", order_id))
        await self.ledger.post(Capture(order_id, "u", "v", "WALLET", PRICING))
        await self.table.transact(mark_delivered(order_id, "r", self.clock.now_ms()).writes)

    async def settle(self, order_id: str) -> None:
        """A delivered and settled order."""
        await self.deliver(order_id)
        await self.ledger.post(Settle(order_id))

    async def change(self, key: Key, **attributes: object) -> None:
        """Change attributes of an item."""
        item = await self.table.get(key)
        assert item is not None
        await self.table.transact([Put(item={**item, **attributes})])

    async def change_balance(self, account: str, **attributes: object) -> None:
        """Change attributes of an account's balance."""
        await self.change(balance_key(account), **attributes)

    async def change_funds(self, order_id: str, **attributes: object) -> None:
        """Change attributes of an order's funds."""
        await self.change(funds_key(order_id), **attributes)

    async def delete(self, key: Key) -> None:
        """Delete an item."""
        await self.table.transact([Delete(key=key)])

    async def rules(self, *stages: Stage, from_ms: int = 0) -> set[str]:
        """The rules that the stages of one audit, in their order, find broken."""
        self.state = self.new_state()
        span = AuditSpan(from_ms, self.clock.now_ms())
        found: set[str] = set()
        for stage in stages:
            async for page in stage(self.state, span):
                found |= {each.invariant for each in page}
        return found


def run(scenario: Callable[[AuditedLedger], Awaitable[None]]) -> None:
    """Run a scenario on a new ledger, on virtual time."""

    async def main() -> None:
        ledger = AuditedLedger()
        await ensure_table(ledger.table)
        await scenario(ledger)

    with seed_randomness(1):
        virtual_time.run(main())
