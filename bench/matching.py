"""Quality of the matching of riders and orders, on public instances of a published library.

`python -m bench.matching --instances DIR [--set core20|anchors16]`: every instance of the folder
(or of the list `DIR/core20.txt`, ...) is replayed minute by minute by a policy, and scored by an
audit that computes every time again. Prints a table beside the published figures of
`DIR/baselines.csv` on stderr, one JSON line for each instance and a last one with the means.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, quantiles
from typing import NamedTuple

from bench.common.result_line import print_result
from bench.mdrp import instances, solution
from bench.mdrp.plot import draw
from bench.mdrp.policies import POLICIES
from bench.mdrp.replay import ReplayOptions, ReplayResult, replay_day
from bench.mdrp.run_audit import Figures, RuleViolation, score_run

# The published policies, by their column in the data's own table.
# Source: baselines.csv beside the instances, and the table of the library's paper.
PUBLISHED = ("G0", "H0", "H2", "FMrepo-FM")
# Minutes of delay per order that a set of instances must not exceed.
# Source: bench/README.md, "How well riders and orders are matched".
GOALS = {"core20": 2.3, "anchors16": 1.0}
# Figures of the decisions' duration, beside those of the run.
TIME_COLUMNS = ("decision_p50_ms", "decision_p99_ms")
COLUMNS = (
    "E", "undelivered", "late", "p90", "ready_to_pickup", "cost_per_order", "orders_per_bundle",
)  # fmt: skip


class InstanceResult(NamedTuple):
    """Figures of one instance, and what others published for it."""

    name: str
    figures: dict[str, float]
    published: dict[str, dict[str, float]]


def instance_names(folder: Path, list_name: str | None) -> list[str]:
    """The instances of a folder, or those that a list in it names."""
    if list_name is None:
        return sorted(path.parent.name for path in folder.glob("*/orders.txt"))
    lines = (folder / f"{list_name}.txt").read_text().splitlines()
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


def read_published(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Published figures by instance and policy: `E` and `cost_per_order`."""
    path = folder / "baselines.csv"
    found: dict[str, dict[str, dict[str, float]]] = {}
    if not path.exists():
        return found
    head, *lines = [line.split(",") for line in path.read_text().splitlines()]
    for line in lines:
        cells = dict(zip(head, line, strict=True))
        figures = {"E": float(cells["E"])}
        if cells["cpo"]:
            figures["cost_per_order"] = float(cells["cpo"])
        found.setdefault(cells["inst"], {})[cells["policy"]] = figures
    return found


def figures_of(scored: Figures, replay: ReplayResult) -> dict[str, float]:
    """The figures of one run's result line. Units: minutes, percent, milliseconds."""
    cuts = quantiles([s * 1000 for s in replay.decision_s], n=100)
    times = dict(zip(TIME_COLUMNS, (round(cuts[49], 2), round(cuts[98], 2)), strict=True))
    rounded = {name: round(value, 4) for name, value in scored._asdict().items()}
    return {**rounded, "asked": replay.offered, "declined": replay.declined, **times}


def means_of(rows: Sequence[InstanceResult]) -> dict[str, float]:
    """Means over the instances, each with the same weight."""
    names = [*COLUMNS, *TIME_COLUMNS]
    return {name: round(fmean(row.figures[name] for row in rows), 4) for name in names}


def published_means(rows: Sequence[InstanceResult], figure: str) -> dict[str, float]:
    """Published means over the same instances, of the policies published for all of them."""
    return {
        policy: round(fmean(row.published[policy][figure] for row in rows), 4)
        for policy in PUBLISHED
        if all(figure in row.published.get(policy, {}) for row in rows)
    }


def _print_table(rows: Sequence[InstanceResult], means: dict[str, float]) -> None:
    """Print the table for people on stderr; the JSON lines on stdout are for machines."""
    heads = ["E", "undel%", "late%", "p90", "rtp", "cost", "o/b", "p50ms", "p99ms"]
    head = f"{'instance':<18}" + "".join(f"{each:>8}" for each in heads) + "   |"
    print(head + "".join(f"{each:>10}" for each in PUBLISHED), file=sys.stderr)
    mean_row = InstanceResult(
        "mean", means, {k: {"E": v} for k, v in published_means(rows, "E").items()}
    )
    for row in [*rows, mean_row]:
        ours = "".join(f"{row.figures[name]:>8.2f}" for name in (*COLUMNS, *TIME_COLUMNS))
        others = (row.published.get(policy, {}).get("E") for policy in PUBLISHED)
        theirs = "".join(f"{'-' if E is None else f'{E:.2f}':>10}" for E in others)
        print(f"{row.name:<18}{ours}   |{theirs}", file=sys.stderr)


def _replay_instance(options: argparse.Namespace, name: str) -> InstanceResult:
    instance = instances.read_instance(options.instances / name)
    replay_options = ReplayOptions(
        POLICIES[options.policy], options.declines, options.prep == "mean", options.seed
    )
    replay = replay_day(instance, replay_options)
    scored = score_run(instance, replay.trips)
    if options.dump:
        solution.write_solution(options.dump / name, instance, replay.trips)
    return InstanceResult(
        name, figures_of(scored, replay), read_published(options.instances).get(name, {})
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instances", type=Path, required=True, help="a folder of instances")
    parser.add_argument("--set", help="a list in that folder: core20, anchors16; else all of it")
    parser.add_argument("--only", nargs="*", help="these instances and no others")
    parser.add_argument("--policy", choices=sorted(POLICIES), default="batch")
    parser.add_argument("--declines", type=float, default=0.0, help="share of offers declined")
    parser.add_argument(
        "--prep", choices=("known", "mean"), default="known", help="what is known of ready times"
    )
    parser.add_argument("--seed", type=int, default=1, help="decides which offers are declined")
    parser.add_argument("--dump", type=Path, help="write decisions here, in the library's format")
    parser.add_argument("--chart", type=Path, help="draw the table into this PNG")
    return parser


def main() -> None:
    """Replay, score and print; exit 1 where a run breaks a rule or a goal is missed."""
    options = _parser().parse_args()
    shown = {"policy": options.policy, "declines": options.declines, "prep": options.prep}
    parameters: dict[str, object] = {**shown, "seed": options.seed}
    rows: list[InstanceResult] = []
    for name in options.only or instance_names(options.instances, options.set):
        try:
            rows.append(_replay_instance(options, name))
        except RuleViolation as broken:
            print_result("matching", {**parameters, "instance": name}, {"void": str(broken)})
            raise SystemExit(1) from broken
        print_result("matching", {**parameters, "instance": name}, dict(rows[-1].figures))
    means = means_of(rows)
    _print_table(rows, means)
    if options.chart:
        draw(options.chart, rows, PUBLISHED)
    published = {figure: published_means(rows, figure) for figure in ("E", "cost_per_order")}
    goal = _goal(options)
    parameters |= {"set": options.set or "all", "instances": len(rows)}
    print_result("matching", parameters, {**means, "published": published, "goal_E": goal})
    if goal is not None:
        held = means["E"] <= goal
        print(f"E {means['E']:.2f}, goal {goal}: {'held' if held else 'missed'}", file=sys.stderr)
        raise SystemExit(not held)


def _goal(options: argparse.Namespace) -> float | None:
    """The goal that applies: only to the best policy, on a whole set, with everything known."""
    is_plain = options.policy == "batch" and not options.declines and options.prep == "known"
    return GOALS.get(options.set) if is_plain and not options.only else None


if __name__ == "__main__":
    main()
