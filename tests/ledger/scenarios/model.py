"""All flows in any order, with every audit after each step: a machine that Hypothesis drives.

`python -m tests.ledger.scenarios.model --steps 200000` is the full size (500,000 by hand).
"""

import asyncio
import sys
import time
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any

import click
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from bench.common.result_line import print_line
from dispatch.errors import Refused
from dispatch.orders.transitions.timeouts import ANSWER_MS
from dispatch.wire.webhooks import FAILED, SUCCEEDED
from ledger.dynamodb.fake import Fault, Faults, Pace
from ledger.dynamodb.table import TableUnavailable
from tests.ledger.scenarios.auditor import breaks, unfinished
from tests.ledger.scenarios.random_choices import seeded
from tests.ledger.scenarios.shop import PROMO, Node, Shop, quiet
from tests.virtual_time import VirtualLoop

STEPS = 50
RATES = {Fault.CONFLICT: 0.2, Fault.LOSE_REPLY: 0.05, Fault.THROTTLE: 0.05}
PLACES = st.integers(0, 7)
RIDERS = st.sampled_from(["rdr_1", "rdr_2"])
METHODS = st.sampled_from(["WALLET", "CASH", "MOBILE_MONEY"])
STEPS_OF_ORDER = st.sampled_from(
    ["accept_order", "reject_order", "call_off", "settle", "hear", "miss"]
)
STEPS_OF_RIDER = st.sampled_from(["offer", "take", "give_back", "fetch", "bring"])

# How many steps were made, over all machines of this process.
made = {"steps": 0, "refused": 0}


class Books(RuleBasedStateMachine):
    """Orders of one customer, two riders and two processes, while the table misbehaves."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._stack.enter_context(seeded(1))
        self._loop = VirtualLoop()
        self._orders: list[dict[str, Any]] = []
        # Names repeat from run to run of a machine, so that a failure can be found again.
        self._asked = 0
        self._do(self._open())

    async def _open(self) -> None:
        self._shop = Shop(Pace(spread=0.5, index_lag_s=1.0))
        self._nodes = [await self._shop.open(), self._shop.node()]
        # Less than many orders would like.
        await self._nodes[0].promise(budget=8_500, perUser=6)
        self._shop.go_wrong(Faults(1, RATES))

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)

    def _try(self, *work: Coroutine[Any, Any, Any]) -> list[Any]:
        async def together() -> list[Any]:
            return await asyncio.gather(*work, return_exceptions=True)

        answers = self._do(together())
        made["steps"] += len(work)
        for answer in answers:
            if isinstance(answer, Refused):
                made["refused"] += 1
            elif isinstance(answer, BaseException) and not isinstance(answer, TableUnavailable):
                raise answer
        return answers

    @rule(amount=st.integers(1, 40_000))
    def top_up(self, amount: int) -> None:
        self._asked += 1
        self._try(self._nodes[0].top_up(amount, f"t{self._asked}"))

    @rule(method=METHODS, promo_code=st.sampled_from([None, PROMO]))
    def place(self, method: Any, promo_code: str | None) -> None:
        # Asked twice under one name, of two processes at once.
        self._asked += 1
        name = f"p{self._asked}"
        placing = (node.place(method, name, promo_code) for node in self._nodes)
        answers = self._try(*placing)
        self._orders += [answers[0]] if isinstance(answers[0], dict) else []

    @rule(first=PLACES, one=STEPS_OF_ORDER, other=STEPS_OF_ORDER)
    def two_steps(self, first: int, one: str, other: str) -> None:
        if self._orders:
            order = self._orders[-1 - first % len(self._orders)]
            pairs = zip(self._nodes, (one, other), strict=True)
            self._try(*(self._step(node, order, step) for node, step in pairs))

    @rule(first=PLACES, step=STEPS_OF_RIDER, off=STEPS_OF_ORDER, rider=RIDERS)
    def rider_step(self, first: int, step: str, off: str, rider: str) -> None:
        if self._orders:
            order = self._orders[-1 - first % len(self._orders)]
            act = getattr(self._nodes[0], step)(order["orderId"], rider)
            self._try(act, self._step(self._nodes[1], order, off))

    @rule(method=METHODS, rider=RIDERS)
    def whole_way(self, method: Any, rider: str) -> None:
        self.place(method, None)
        if self._orders:
            order, node = self._orders[-1], self._nodes[0]
            self._try(self._step(node, order, "hear"))
            for step in ("accept_order", "offer", "take", "fetch", "bring"):
                more = () if step == "accept_order" else (rider,)
                self._try(getattr(node, step)(order["orderId"], *more))

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        self._nodes[which] = self._shop.node()

    @rule()
    def sweep(self) -> None:
        async def later(node: Node) -> None:
            await self._shop.clock.sleep(15)
            await node.settler.sweep_once()

        self._try(*map(later, self._nodes))
        assert unfinished(self._shop.items()) == []

    @rule()
    def wait_in_vain(self) -> None:
        async def later(node: Node) -> None:
            await self._shop.clock.sleep(ANSWER_MS / 1000)
            await node.lapses.sweep_once()

        self._try(*map(later, self._nodes))

    @invariant()
    def books_are_right(self) -> None:
        flaws = breaks(self._shop.items())
        assert not flaws, flaws

    async def _step(self, node: Node, order: dict[str, Any], step: str) -> object:
        payment = order["payment"].get("paymentId")
        if step == "settle":
            return await node.settler.settle(order["orderId"])
        if step not in ("hear", "miss"):
            return await getattr(node, step)(order["orderId"])
        if order["payment"]["method"] != "MOBILE_MONEY":
            return None
        event = SUCCEEDED if step == "hear" else FAILED
        return await node.hear(payment, order["pricing"]["total"], event)

    def teardown(self) -> None:
        self._loop.close()
        self._stack.close()


def walk(examples: int, from_seed: int, *, shrinks: bool = True) -> None:
    """Drive so many machines of up to STEPS steps each; a failure is made small where `shrinks`.

    Errors: AssertionError, with whatever an audit says.
    """
    wanted = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate, *([Phase.shrink] if shrinks else [])],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(seed(from_seed)(Books), settings=wanted)


@click.command()
@click.option(
    "--steps", default=2_000, show_default=True, help="Full size: 200000; 500000 by hand."
)
@click.option("--seed", "from_seed", default=1, show_default=True, help="The first seed.")
def main(steps: int, from_seed: int) -> None:
    """Do anything in any order; the books must be right after each step."""
    quiet()
    began_s = time.perf_counter()
    rounds = 0
    while made["steps"] < steps:
        walk(20, from_seed + rounds)
        rounds += 1
    wall_s = round(time.perf_counter() - began_s, 1)
    print_line("ledger_model", {"steps": steps, "seed": from_seed}, {**made, "wall_s": wall_s})
    sys.exit(0)


if __name__ == "__main__":
    main()
