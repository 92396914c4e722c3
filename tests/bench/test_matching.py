"""The bench of matching: its lists of instances, published figures, and command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.matching import InstanceResult, instance_names, means_of, published_means, read_published

ROOT = Path(__file__).parents[2]


def test_instances_are_those_of_a_list_or_of_the_folder(tiny_folder: Path):
    """A list's comments and further columns are ignored; without a list all folders count."""
    folder = tiny_folder.parent
    (folder / "some.txt").write_text("# a list\ntiny 252\n\nother 3\n")
    assert instance_names(folder, None) == ["tiny"]
    assert instance_names(folder, "some") == ["tiny", "other"]


def test_published_figures_are_read_where_there_are_any(tmp_path: Path):
    """Without a table nothing is published; a missing cost is left out."""
    assert read_published(tmp_path) == {}
    (tmp_path / "baselines.csv").write_text("inst,policy,E,cpo\na,H2,7.5,12\na,G0,9,\n")
    assert read_published(tmp_path) == {
        "a": {"H2": {"E": 7.5, "cost_per_order": 12.0}, "G0": {"E": 9.0}}
    }


def test_means_count_each_instance_once():
    """Means weigh instances equally; a policy counts only where all instances have it."""
    names = (
        "E", "undelivered", "late", "p90", "ready_to_pickup", "cost_per_order",
        "orders_per_bundle", "decision_p50_ms", "decision_p99_ms",
    )  # fmt: skip
    rows = [
        InstanceResult("a", dict.fromkeys(names, 1.0), {"H2": {"E": 4.0}, "G0": {"E": 9.0}}),
        InstanceResult("b", dict.fromkeys(names, 2.0), {"H2": {"E": 6.0}}),
    ]
    assert set(means_of(rows).values()) == {1.5}
    assert published_means(rows, "E") == {"H2": 5.0}


@pytest.mark.slow
def test_the_command_prints_its_lines(tiny_folder: Path, tmp_path: Path):
    """One line for the instance, one for the means, with the published figures."""
    (tiny_folder.parent / "baselines.csv").write_text("inst,policy,E,cpo\ntiny,H2,7.5,12\n")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "bench.matching", "--instances", str(tiny_folder.parent)]
    run = subprocess.run(
        [*command, "--dump", str(out), "--chart", str(out / "chart.png")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    one, means = [json.loads(line) for line in run.stdout.splitlines()]
    assert one["parameters"]["instance"] == "tiny"
    assert one["figures"]["E"] == means["figures"]["E"]
    assert means["figures"]["published"] == {"E": {"H2": 7.5}, "cost_per_order": {"H2": 12.0}}
    assert (out / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((out / "tiny").iterdir())) == 3
