"""Random flows in any order, with every audit after each step, driven by Hypothesis.

Full size: `python -m tests.ledger.scenarios.model --steps 200000` (500,000 by hand).
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

from bench.common.result_line import print_result
from dispatch.errors import Refused
from dispatch.orders.transitions.timeouts import VENDOR_TIMEOUT_MS
from dispatch.wire.webhooks import PAYMENT_FAILED, PAYMENT_SUCCEEDED
from ledger.dynamodb.fake import Fault, FaultInjector, Latencies
from ledger.dynamodb.table import TableUnavailable
from tests.ledger.scenarios.auditor import find_breaks, unsettled_orders
from tests.ledger.scenarios.cluster import PROMO, ServerCluster, ServerNode, silence_logs
from tests.ledger.scenarios.seeded_randomness import seed_randomness
from tests.virtual_time import VirtualLoop

STEPS = 50
RATES = {Fault.CONFLICT: 0.2, Fault.LOSE_REPLY: 0.05, Fault.THROTTLE: 0.05}
ORDER_POSITIONS = st.integers(0, 7)
RIDERS = st.sampled_from(["rdr_1", "rdr_2"])
METHODS = st.sampled_from(["WALLET", "CASH", "MOBILE_MONEY"])
# Cash that a rider reports: what was due, and less, more or far more than any price.
CASH = st.sampled_from([None, 0, 1, 6_000, 12_000, 10**9])
STEPS_OF_ORDER = st.sampled_from(
    ["accept_order", "reject_order", "cancel_order", "settle", "report_success", "report_failure"]
)
STEPS_OF_RIDER = st.sampled_from(
    ["make_offer", "accept_delivery", "release_delivery", "pick_up", "complete_delivery"]
)

# Steps made by all state machines of this process.
totals = {"steps": 0, "refused": 0}


class MoneyStateMachine(RuleBasedStateMachine):
    """Orders of one customer, two riders and two nodes, while the table injects faults."""

    def __init__(self) -> None:
        super().__init__()
        self._exit_stack = ExitStack()
        self._exit_stack.enter_context(seed_randomness(1))
        self._loop = VirtualLoop()
        self._orders: list[dict[str, Any]] = []
        # Idempotency keys repeat from run to run, so that a failure can be reproduced.
        self._request_count = 0
        self._run(self._start_cluster())

    async def _start_cluster(self) -> None:
        self._cluster = ServerCluster(Latencies(spread=0.5, index_lag_s=1.0))
        self._nodes = [await self._cluster.start(), self._cluster.add_node()]
        # Less than many orders would need.
        await self._nodes[0].create_promotion(budget=8_500, perUser=6)
        self._cluster.inject_faults(FaultInjector(1, RATES))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)

    def _run_together(self, *work: Coroutine[Any, Any, Any]) -> list[Any]:
        async def together() -> list[Any]:
            return await asyncio.gather(*work, return_exceptions=True)

        answers = self._run(together())
        totals["steps"] += len(work)
        for answer in answers:
            if isinstance(answer, Refused):
                totals["refused"] += 1
            elif isinstance(answer, BaseException) and not isinstance(answer, TableUnavailable):
                raise answer
        return answers

    @rule(amount=st.integers(1, 40_000))
    def top_up(self, amount: int) -> None:
        self._request_count += 1
        self._run_together(self._nodes[0].top_up(amount, f"t{self._request_count}"))

    @rule(method=METHODS, promo_code=st.sampled_from([None, PROMO]))
    def place_order(self, method: Any, promo_code: str | None) -> None:
        # Asked twice under one name, of two processes at once.
        self._request_count += 1
        name = f"p{self._request_count}"
        placing = (node.place_order(method, name, promo_code) for node in self._nodes)
        answers = self._run_together(*placing)
        self._orders += [answers[0]] if isinstance(answers[0], dict) else []

    @rule(first=ORDER_POSITIONS, one=STEPS_OF_ORDER, other=STEPS_OF_ORDER)
    def run_two_steps(self, first: int, one: str, other: str) -> None:
        if self._orders:
            order = self._orders[-1 - first % len(self._orders)]
            pairs = zip(self._nodes, (one, other), strict=True)
            self._run_together(*(self._run_step(node, order, step) for node, step in pairs))

    @rule(first=ORDER_POSITIONS, step=STEPS_OF_RIDER, off=STEPS_OF_ORDER, rider=RIDERS)
    def run_rider_step(self, first: int, step: str, off: str, rider: str) -> None:
        if self._orders:
            order = self._orders[-1 - first % len(self._orders)]
            act = getattr(self._nodes[0], step)(order["orderId"], rider)
            self._run_together(act, self._run_step(self._nodes[1], order, off))

    @rule(method=METHODS, rider=RIDERS, cash=CASH)
    def deliver_order(self, method: Any, rider: str, cash: int | None) -> None:
        self.place_order(method, None)
        if self._orders:
            order, node = self._orders[-1], self._nodes[0]
            self._run_together(self._run_step(node, order, "report_success"))
            for step in ("accept_order", "make_offer", "accept_delivery", "pick_up"):
                more = () if step == "accept_order" else (rider,)
                self._run_together(getattr(node, step)(order["orderId"], *more))
            self._run_together(node.complete_delivery(order["orderId"], rider, cash))

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        self._nodes[which] = self._cluster.add_node()

    @rule()
    def sweep(self) -> None:
        async def later(node: ServerNode) -> None:
            await self._cluster.clock.sleep(15)
            await node.settlement_worker.sweep_once()

        self._run_together(*map(later, self._nodes))
        assert unsettled_orders(self._cluster.items()) == []

    @rule()
    def time_out_orders(self) -> None:
        async def later(node: ServerNode) -> None:
            await self._cluster.clock.sleep(VENDOR_TIMEOUT_MS / 1000)
            await node.order_timeouts.sweep_once()

        self._run_together(*map(later, self._nodes))

    @invariant()
    def ledger_is_consistent(self) -> None:
        breaks = find_breaks(self._cluster.items())
        assert not breaks, breaks

    async def _run_step(self, node: ServerNode, order: dict[str, Any], step: str) -> object:
        payment = order["payment"].get("paymentId")
        if step == "settle":
            return await node.settlement_worker.settle(order["orderId"])
        if step not in ("report_success", "report_failure"):
            return await getattr(node, step)(order["orderId"])
        if order["payment"]["method"] != "MOBILE_MONEY":
            return None
        event = PAYMENT_SUCCEEDED if step == "report_success" else PAYMENT_FAILED
        return await node.report_payment(payment, order["pricing"]["total"], event)

    def teardown(self) -> None:
        self._loop.close()
        self._exit_stack.close()


def run_state_machine(examples: int, from_seed: int, *, shrinks: bool = True) -> None:
    """Run so many state machines of up to STEPS steps each; a failure is shrunk where `shrinks`.

    Errors: AssertionError with the audit's breaks.
    """
    wanted = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate, *([Phase.shrink] if shrinks else [])],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(seed(from_seed)(MoneyStateMachine), settings=wanted)


@click.command()
@click.option(
    "--steps", default=2_000, show_default=True, help="Full size: 200000; 500000 by hand."
)
@click.option("--seed", "from_seed", default=1, show_default=True, help="The first seed.")
def main(steps: int, from_seed: int) -> None:
    """Run random flows in any order; the ledger must be consistent after each step."""
    silence_logs()
    began_s = time.perf_counter()
    rounds = 0
    while totals["steps"] < steps:
        run_state_machine(20, from_seed + rounds)
        rounds += 1
    wall_s = round(time.perf_counter() - began_s, 1)
    print_result("ledger_model", {"steps": steps, "seed": from_seed}, {**totals, "wall_s": wall_s})
    sys.exit(0)


if __name__ == "__main__":
    main()
