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

from bench.common.result_line import print_line
from ledger.dynamodb import client
from ledger.dynamodb.table import Write
from tests import virtual_time
from tests.ledger.scenarios.flows import FLOWS, Flow
from tests.ledger.scenarios.random_choices import seeded
from tests.ledger.scenarios.shop import Shop, quiet
from tests.ledger.scenarios.stale_decisions import GROUNDS, Ground, is_stopped
from tests.ledger.scenarios.weakened_conditions import Mutant, mutants_of, weakened

# What is asked where no moved ground notices; left at the first failure.
SUITE = (
    "tests/ledger/records/test_cash_holds.py",
    "tests/ledger/records/test_payments.py",
    "tests/ledger/posting/test_ledger.py",
)


class _First:
    """Notes the first test that fails."""

    def __init__(self) -> None:
        self.name = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid


@contextmanager
def _writes(change: Any) -> Iterator[None]:
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

    with _writes(note):
        for flow in FLOWS:
            _walk(flow)
    return sorted(found)


def _walk(flow: Flow) -> None:
    async def main() -> None:
        shop = Shop()
        on = await flow.before(await shop.open())
        node = shop.node()
        await flow.act(node, on)
        await virtual_time.clock().sleep(60)
        await node.settler.sweep_once()

    with seeded(1):
        virtual_time.run(main())


def caught_by(mutant: Mutant) -> str:
    """What fails without that condition: a case of moved ground, or else a test; empty if none."""
    with _writes(lambda write: weakened(write, mutant)):
        for ground in GROUNDS:
            if _is_about(ground, mutant) and not is_stopped(ground):
                return f"moved ground: {ground.flow}, {ground.pk}/{ground.sk}"
    return _told(*_in_child(mutant))


def _is_about(ground: Ground, mutant: Mutant) -> bool:
    pk, _, sk = mutant.item.partition("/")
    return f"{pk}#".startswith(ground.pk) and sk.startswith(ground.sk)


def _test_that_fails(mutant: Mutant) -> str:
    first = _First()
    with _writes(lambda write: weakened(write, mutant)):
        code = pytest.main(
            ["-x", "-q", "--fake-dynamo", "-p", "no:cacheprovider", *SUITE], plugins=[first]
        )
    assert code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), "the tests did not run"
    return first.name


def _in_child(mutant: Mutant) -> tuple[int, int]:
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
        os.write(writes, _test_that_fails(mutant).encode())
        status = 0
    finally:
        # Whatever happened, the child does not go on with its parent's work.
        os._exit(status)


def _told(child: int, reads: int) -> str:
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
    quiet()
    began_s = time.perf_counter()
    mutants = [mutant for mutant in all_mutants() if only in " | ".join(mutant)]
    caught = {mutant: caught_by(mutant) for mutant in mutants}
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
    print_line("ledger_mutations", {"only": only}, figures)
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
