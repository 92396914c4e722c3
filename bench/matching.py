"""How well riders and orders are matched, on real instances that nobody here wrote.

`python -m bench.matching --instances DIR [--set core20|anchors16]`: every instance of the folder
(of the list `DIR/core20.txt`, ...) is played minute by minute by `matching.solve`, and judged by a
harness of its own that works every time out again. A table beside the published figures of
`DIR/baselines.csv`, one JSON line for each instance and a last one with the means.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, quantiles
from typing import NamedTuple

from bench.common.result_line import print_result
from bench.mdrp import instances, solution
from bench.mdrp.plot import draw
from bench.mdrp.replay import ReplayOptions, ReplayResult, replay_day
from bench.mdrp.run_audit import Figures, RuleViolation, score_run
from matching.solve import POLICIES, solve

# The published columns, as the data's own table calls them.
# Source: baselines.csv beside the instances, and the table of the library's paper.
PUBLISHED = ("G0", "H0", "H2", "FMrepo-FM")
# Minutes of delay per order that a set of instances must not exceed.
# Source: matching design, goals.
GOALS = {"core20": 2.3, "anchors16": 1.0}
# Figures of the decisions, beside those of the run.
TIME_COLUMNS = ("decision_p50_ms", "decision_p99_ms")
COLUMNS = (
    "E", "undelivered", "late", "p90", "ready_to_pickup", "cost_per_order", "orders_per_bundle",
)  # fmt: skip


class InstanceResult(NamedTuple):
    """One instance: how it went, how long decisions took, what others published."""

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
    """What others reached: by instance, by policy, `E` and `cost_per_order`."""
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
    """All that is told of a run."""
    cuts = quantiles([s * 1000 for s in replay.decision_s], n=100)
    times = dict(zip(TIME_COLUMNS, (round(cuts[49], 2), round(cuts[98], 2)), strict=True))
    rounded = {name: round(value, 4) for name, value in scored._asdict().items()}
    return {**rounded, "asked": replay.offered, "declined": replay.declined, **times}


def means_of(rows: Sequence[InstanceResult]) -> dict[str, float]:
    """Every instance counts the same."""
    names = [*COLUMNS, *TIME_COLUMNS]
    return {name: round(fmean(row.figures[name] for row in rows), 4) for name in names}


def published_means(rows: Sequence[InstanceResult], figure: str) -> dict[str, float]:
    """Others' means over the same instances; only those who published all of them."""
    return {
        policy: round(fmean(row.published[policy][figure] for row in rows), 4)
        for policy in PUBLISHED
        if all(figure in row.published.get(policy, {}) for row in rows)
    }


def _print_table(rows: Sequence[InstanceResult], means: dict[str, float]) -> None:
    """Side by side, for people; the lines are for machines."""
    heads = ["E", "undel%", "late%", "p90", "rtp", "cost", "o/b", "p50ms", "p99ms"]
    head = f"{'instance':<18}" + "".join(f"{each:>8}" for each in heads) + "   |"
    print(head + "".join(f"{each:>10}" for each in PUBLISHED), file=sys.stderr)
    everybody = InstanceResult(
        "mean", means, {k: {"E": v} for k, v in published_means(rows, "E").items()}
    )
    for row in [*rows, everybody]:
        ours = "".join(f"{row.figures[name]:>8.2f}" for name in (*COLUMNS, *TIME_COLUMNS))
        others = (row.published.get(policy, {}).get("E") for policy in PUBLISHED)
        theirs = "".join(f"{'-' if E is None else f'{E:.2f}':>10}" for E in others)
        print(f"{row.name:<18}{ours}   |{theirs}", file=sys.stderr)


def _replay_instance(options: argparse.Namespace, name: str) -> InstanceResult:
    instance = instances.read_instance(options.instances / name)
    choice = ReplayOptions(
        partial(solve, policy=options.policy),
        options.declines,
        options.prep == "mean",
        options.seed,
    )
    replay = replay_day(instance, choice)
    judged = score_run(instance, replay.trips)
    if options.dump:
        solution.write_solution(options.dump / name, instance, replay.trips)
    return InstanceResult(
        name, figures_of(judged, replay), read_published(options.instances).get(name, {})
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
    parser.add_argument("--seed", type=int, default=1, help="who declines what")
    parser.add_argument("--dump", type=Path, help="write decisions here, in the library's format")
    parser.add_argument("--chart", type=Path, help="draw the table into this PNG")
    return parser


def main() -> None:
    """Play, judge, print; 1 where a run is illegal or a goal is missed."""
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
    theirs = {figure: published_means(rows, figure) for figure in ("E", "cost_per_order")}
    goal = _goal(options)
    parameters |= {"set": options.set or "all", "instances": len(rows)}
    print_result("matching", parameters, {**means, "published": theirs, "goal_E": goal})
    if goal is not None:
        held = means["E"] <= goal
        print(f"E {means['E']:.2f}, goal {goal}: {'held' if held else 'missed'}", file=sys.stderr)
        raise SystemExit(not held)


def _goal(options: argparse.Namespace) -> float | None:
    """What is promised: of the best policy, on a whole set, where everything is known."""
    is_plain = options.policy == "batch" and not options.declines and options.prep == "known"
    return GOALS.get(options.set) if is_plain and not options.only else None


if __name__ == "__main__":
    main()
