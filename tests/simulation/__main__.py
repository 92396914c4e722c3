"""Command of the simulation: runs seeds, audits each run, and prints one result line.

`python -m tests.simulation --seeds 1-100 --orders 40` is the full size. A seed that fails is
replayed byte for byte by `--seed N` with the same options. `--log` keeps everything that the
clients sent and received.
"""

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

from bench.common.result_line import print_result
from tests.simulation.auditor import find_violations
from tests.simulation.evidence import Violation
from tests.simulation.fault_schedule import KINDS, THROTTLED_KIND
from tests.simulation.planted_bugs import PLANTED_BUGS
from tests.simulation.simulation_run import Options, run_simulation

# Violations of one seed that are printed; the log has what led to all of them.
FINDINGS_SHOWN_MAX = 20


@click.command(help=__doc__)
@click.option("--seed", type=int, help="One seed.")
@click.option("--seeds", default="1-3", show_default=True, help="A range of seeds, as 1-100.")
@click.option("--orders", default=12, show_default=True, help="Orders of each seed; full size 40.")
@click.option(
    "--faults",
    default="all",
    show_default=True,
    help=f"all, none, {THROTTLED_KIND} (DynamoDB, all the time), or some of: {','.join(KINDS)}",
)
@click.option(
    "--mode",
    type=click.Choice(["offers", "batch", "auto"]),
    default="offers",
    show_default=True,
    help="How orders meet riders.",
)
@click.option("--plant", type=click.Choice(sorted(PLANTED_BUGS)), help="Plant a bug to be found.")
@click.option("--log", type=click.Path(path_type=Path), help="Where to write the last diary.")
def main(*, seed: int | None, seeds: str, log: Path | None, **options: Any) -> None:
    """Run, audit and print; the exit code is 1 if a violation was found."""
    orders, plant, faults = options["orders"], options["plant"], options["faults"]
    mode = options["mode"]
    first, _, last = (str(seed) if seed is not None else seeds).partition("-")
    named: dict[str, tuple[str, ...]] = {"all": KINDS, "none": ()}
    kinds = named[faults] if faults in named else tuple(faults.split(","))
    runs, seconds, calls = 0, 0.0, 0
    faults_seen, violations_by_seed = Counter[str](), dict[int, list[Violation]]()
    for number in range(int(first), int(last or first) + 1):
        outcome = run_simulation(Options(number, orders, kinds, plant, mode))
        runs, seconds, calls = runs + 1, seconds + outcome.seconds, calls + outcome.dynamodb_calls
        faults_seen += Counter(outcome.faults)
        if violations := find_violations(outcome.evidence):
            violations_by_seed[number] = violations
            for violation in violations[:FINDINGS_SHOWN_MAX]:
                click.echo(f"seed {number}: {' | '.join(violation)}", err=True)
        if log is not None:
            log.write_bytes(outcome.event_log.to_json_lines())
        if violations_by_seed and plant:
            # One seed is enough to find a planted bug.
            break
    options = {
        "seeds": f"{first}-{last or first}",
        "orders": orders,
        "faults": kinds,
        "plant": plant,
        "mode": mode,
    }
    rules = Counter(
        violation.rule for violations in violations_by_seed.values() for violation in violations
    )
    figures: dict[str, object] = {
        "runs": runs,
        "simulated_s": round(seconds, 1),
        "dynamodb_calls": calls,
        "faults": dict(sorted(faults_seen.items())),
        "findings": dict(sorted(rules.items())),
        "seeds_with_findings": sorted(violations_by_seed),
        "result": "broken" if violations_by_seed else "kept",
    }
    print_result("simulation", {"seeds": f"{first}-{last or first}", **options}, figures)
    sys.exit(1 if violations_by_seed else 0)


if __name__ == "__main__":
    # Sets of strings iterate in an order that only this setting makes the same in every process.
    if os.environ.get("PYTHONHASHSEED") != "0":
        command = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    main()
