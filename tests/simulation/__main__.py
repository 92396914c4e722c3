"""The town's command: runs seeds, lets the auditor judge each, and prints one line for all of them.

`python -m tests.simulation --seeds 1-100 --orders 40` is the full size; a seed that fails is
replayed by `--seed N` with the same options, to the byte. `--log` keeps what everybody saw.
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

# Findings of one seed that are printed; the log has what led to all of them.
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
    """Run, judge, print; the exit code is 1 where the auditor found something."""
    orders, plant, faults = options["orders"], options["plant"], options["faults"]
    mode = options["mode"]
    first, _, last = (str(seed) if seed is not None else seeds).partition("-")
    named: dict[str, tuple[str, ...]] = {"all": KINDS, "none": ()}
    kinds = named[faults] if faults in named else tuple(faults.split(","))
    runs, seconds, calls = 0, 0.0, 0
    struck, found = Counter[str](), dict[int, list[Violation]]()
    for each in range(int(first), int(last or first) + 1):
        outcome = run_simulation(Options(each, orders, kinds, plant, mode))
        runs, seconds, calls = runs + 1, seconds + outcome.seconds, calls + outcome.dynamodb_calls
        struck += Counter(outcome.faults)
        if findings := find_violations(outcome.evidence):
            found[each] = findings
            for finding in findings[:FINDINGS_SHOWN_MAX]:
                click.echo(f"seed {each}: {' | '.join(finding)}", err=True)
        if log is not None:
            log.write_bytes(outcome.event_log.to_json_lines())
        if found and plant:
            # One seed is enough to find a bug that is known.
            break
    options = {
        "seeds": f"{first}-{last or first}",
        "orders": orders,
        "faults": kinds,
        "plant": plant,
        "mode": mode,
    }
    rules = Counter(finding.rule for findings in found.values() for finding in findings)
    figures: dict[str, object] = {
        "runs": runs,
        "simulated_s": round(seconds, 1),
        "dynamodb_calls": calls,
        "faults": dict(sorted(struck.items())),
        "findings": dict(sorted(rules.items())),
        "seeds_with_findings": sorted(found),
        "result": "broken" if found else "kept",
    }
    print_result("simulation", {"seeds": f"{first}-{last or first}", **options}, figures)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    # Sets of text are walked in an order that only this setting makes the same in every process.
    if os.environ.get("PYTHONHASHSEED") != "0":
        command = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    main()
