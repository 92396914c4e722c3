"""Mutations: removes every condition of every write, one at a time; a test must fail for each.

`python -m tests.ledger.scenarios.mutations` prints what failed for each condition, then one line.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click
import pytest

from bench.common.result_line import print_result
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Write
from tests import virtual_time
from tests.ledger.scenarios.approval_flows import ALL_FLOWS
from tests.ledger.scenarios.cluster import ServerCluster, silence_logs
from tests.ledger.scenarios.money_flows import MoneyFlow
from tests.ledger.scenarios.seeded_randomness import seed_randomness
from tests.ledger.scenarios.stale_decisions import STALE_CASES, StaleCase, is_stopped
from tests.ledger.scenarios.weakened_conditions import Mutant, mutants_of, weaken

# Tests that run where no stale case fails; stopped at the first failure.
SUITE = (
    "tests/ledger/records/test_cash_holds.py",
    "tests/ledger/records/test_payments.py",
    "tests/ledger/posting/test_ledger.py",
)


class _FirstFailure:
    """Records the first test that fails."""

    def __init__(self) -> None:
        self.name = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid


@contextmanager
def change_writes(change: Callable[[Write], Write]) -> Iterator[None]:
    """Pass every write through `change` before the table sends it."""
    transact = DynamoTable.transact

    async def transact_changed(
        table: DynamoTable, writes: Sequence[Write], token: str | None = None
    ) -> None:
        await transact(table, [change(write) for write in writes], token)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DynamoTable, "transact", transact_changed)
        yield


# The flows' people are in good standing and below the caps of unpaid orders. Those who are not are
# in `tests/dispatch/orders`: `test_standing_checks.py` and `test_unpaid_orders.py`.
SHOWN_BY_ORDERS = ("STANDING", "UNPAID")
# A change of the payout gate has an id of its own; its condition guards against the same id drawn
# twice, which no flow does.
NEW_GATE_CHANGE = ("Put", "PAYOU/*", "attribute_not_exists ( PK )")


def all_mutants() -> list[Mutant]:
    """Every condition of every write of every flow, but for standing and unpaid caps."""
    found: dict[Mutant, None] = {}

    def note(write: Write) -> Write:
        found.update(dict.fromkeys(mutants_of(write)))
        return write

    with change_writes(note):
        for flow in ALL_FLOWS:
            _run_flow(flow)
    return sorted(
        each
        for each in found
        if not each.item.endswith(SHOWN_BY_ORDERS)
        and (each.verb, each.item, each.removed) != NEW_GATE_CHANGE
    )


def _run_flow(flow: MoneyFlow) -> None:
    async def main() -> None:
        cluster = ServerCluster()
        on = await flow.prepare(await cluster.start())
        node = cluster.add_node()
        await flow.run(node, on)
        await virtual_time.clock().sleep(60)
        await node.settlement_worker.sweep_once()

    with seed_randomness(1):
        virtual_time.run(main())


def find_failing_check(mutant: Mutant) -> str:
    """The stale case or the test that fails without that condition; empty if none does."""
    with change_writes(lambda write: weaken(write, mutant)):
        for case in STALE_CASES:
            if _targets(case, mutant) and not is_stopped(case):
                return f"stale case: {case.flow}, {case.pk}/{case.sk}"
    return _read_child_result(*_fork_test_run(mutant))


def _targets(case: StaleCase, mutant: Mutant) -> bool:
    pk, _, sk = mutant.item.partition("/")
    return f"{pk}#".startswith(case.pk) and sk.startswith(case.sk)


def _find_failing_test(mutant: Mutant) -> str:
    first = _FirstFailure()
    with change_writes(lambda write: weaken(write, mutant)):
        code = pytest.main(
            ["-x", "-q", "--fake-dynamo", "-p", "no:cacheprovider", *SUITE], plugins=[first]
        )
    assert code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), "the tests did not run"
    return first.name


def _fork_test_run(mutant: Mutant) -> tuple[int, int]:
    """Run the tests in a child process; its id and the pipe with its result."""
    reads, writes = os.pipe()
    child = os.fork()
    if child:
        os.close(writes)
        return child, reads
    os.close(reads)
    status = 1
    try:
        # Pytest's output is not wanted.
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        os.write(writes, _find_failing_test(mutant).encode())
        status = 0
    finally:
        # In any case the child must not go on with its parent's work.
        os._exit(status)


def _read_child_result(child: int, reads: int) -> str:
    with os.fdopen(reads, "rb") as pipe:
        name = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if status:
        raise click.ClickException(f"the tests of {child} ended with {status}")
    return name


@click.command()
@click.option("--only", default="", help="Only conditions whose table line has this text.")
def main(only: str) -> None:
    """Remove each condition in turn; a test must fail for every one."""
    silence_logs()
    began_s = time.perf_counter()
    mutants = [mutant for mutant in all_mutants() if only in " | ".join(mutant)]
    caught = {mutant: find_failing_check(mutant) for mutant in mutants}
    for mutant, test in caught.items():
        verb, item, condition, removed = mutant
        click.echo(f"{'caught  ' if test else 'SURVIVED'} | {verb} {item} | {condition}", err=True)
        click.echo(f"         |   without {removed} | {test}", err=True)
    survivors = [mutant._asdict() for mutant, test in caught.items() if not test]
    figures: dict[str, object] = {
        "mutants": len(mutants),
        "caught": len(mutants) - len(survivors),
        "survivors": survivors,
        "wall_s": round(time.perf_counter() - began_s, 1),
    }
    print_result("ledger_mutations", {"only": only}, figures)
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
