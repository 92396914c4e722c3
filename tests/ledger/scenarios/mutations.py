"""Takes away every condition of every write, one at a time: a test must fail for each.

`python -m tests.ledger.scenarios.mutations` prints a table of what caught which, then one line.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import pytest

from bench.common.result_line import print_result
from ledger.dynamodb import client
from ledger.dynamodb.table import Write
from tests import virtual_time
from tests.ledger.scenarios.cluster import ServerCluster, silence_logs
from tests.ledger.scenarios.money_flows import FLOWS, MoneyFlow
from tests.ledger.scenarios.seeded_randomness import seed_randomness
from tests.ledger.scenarios.stale_decisions import STALE_CASES, StaleCase, is_stopped
from tests.ledger.scenarios.weakened_conditions import Mutant, mutants_of, weaken

# What is asked where no moved ground notices; left at the first failure.
SUITE = (
    "tests/ledger/records/test_cash_holds.py",
    "tests/ledger/records/test_payments.py",
    "tests/ledger/posting/test_ledger.py",
)


class _FirstFailure:
    """Notes the first test that fails."""

    def __init__(self) -> None:
        self.name = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid


@contextmanager
def change_writes(change: Any) -> Iterator[None]:
    """Let every write pass through `change` on its way to the table."""
    send = client._write_request
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "_write_request", lambda table, write: send(table, change(write)))
        yield


def all_mutants() -> list[Mutant]:
    """Every condition of every write that any flow makes."""
    found: dict[Mutant, None] = {}

    def note(write: Write) -> Write:
        found.update(dict.fromkeys(mutants_of(write)))
        return write

    with change_writes(note):
        for flow in FLOWS:
            _run_flow(flow)
    return sorted(found)


def _run_flow(flow: MoneyFlow) -> None:
    async def main() -> None:
        shop = ServerCluster()
        on = await flow.prepare(await shop.start())
        node = shop.add_node()
        await flow.run(node, on)
        await virtual_time.clock().sleep(60)
        await node.settlement_worker.sweep_once()

    with seed_randomness(1):
        virtual_time.run(main())


def find_failing_check(mutant: Mutant) -> str:
    """What fails without that condition: a case of moved ground, or else a test; empty if none."""
    with change_writes(lambda write: weaken(write, mutant)):
        for ground in STALE_CASES:
            if _targets(ground, mutant) and not is_stopped(ground):
                return f"moved ground: {ground.flow}, {ground.pk}/{ground.sk}"
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
    """Ask the tests in a process of its own; its id and where it will say what it found."""
    reads, writes = os.pipe()
    child = os.fork()
    if child:
        os.close(writes)
        return child, reads
    os.close(reads)
    status = 1
    try:
        # What pytest prints is nobody's business.
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        os.write(writes, _find_failing_test(mutant).encode())
        status = 0
    finally:
        # Whatever happened, the child does not go on with its parent's work.
        os._exit(status)


def _read_child_result(child: int, reads: int) -> str:
    with os.fdopen(reads, "rb") as pipe:
        told = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if status:
        raise click.ClickException(f"the tests of {child} ended with {status}")
    return told


@click.command()
@click.option("--only", default="", help="Only conditions whose table line has this text.")
def main(only: str) -> None:
    """Take away each condition in turn; a test must fail for every one."""
    silence_logs()
    began_s = time.perf_counter()
    mutants = [mutant for mutant in all_mutants() if only in " | ".join(mutant)]
    caught = {mutant: find_failing_check(mutant) for mutant in mutants}
    for mutant, test in caught.items():
        verb, item, condition, taken = mutant
        click.echo(f"{'caught  ' if test else 'SURVIVED'} | {verb} {item} | {condition}", err=True)
        click.echo(f"         |   without {taken} | {test}", err=True)
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
