"""Tests of the simulation: promises hold under faults, runs replay, planted bugs are found."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
AUDIT_MODULES = sorted([*HERE.glob("*_audit.py"), HERE / "auditor.py", HERE / "evidence.py"])
PRODUCT_PACKAGES = {"dispatch", "handlers", "ledger", "matching"}


def run_command(*options, hash_seed="0"):
    """Run the command; its exit code, result line and stderr."""
    completed = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *options],
        cwd=HERE.parents[1],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.stdout, completed.stderr
    return completed.returncode, json.loads(completed.stdout.splitlines()[-1]), completed.stderr


@pytest.mark.parametrize(
    ("seeds", "orders"), [("1", "3"), pytest.param("1-2", "8", marks=pytest.mark.slow)]
)
def test_promises_are_kept_under_every_fault(seeds, orders):
    """Under every kind of fault no promise is broken."""
    code, line, stderr = run_command("--seeds", seeds, "--orders", orders)

    assert (code, line["figures"]["findings"]) == (0, {}), stderr
    # The length of a run changes with every message that the product sends.
    assert line["figures"]["simulated_s"] > 15


@pytest.mark.slow
def test_a_throttled_table_is_not_flooded():
    """With 30 % of calls throttled and 10 % of replies lost, all is kept in 3 times the calls."""
    options = ("--seed", "1", "--orders", "8", "--faults")
    _, without_faults, _ = run_command(*options, "none")
    code, line, stderr = run_command(*options, "throttled")

    assert (code, line["figures"]["findings"]) == (0, {}), stderr
    assert line["figures"]["faults"]["dynamo_throttle"] > 100
    assert line["figures"]["dynamodb_calls"] <= 3 * without_faults["figures"]["dynamodb_calls"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["batch", "auto"])
def test_promises_are_kept_in_batch_modes(mode):
    """In batch and auto mode, under every kind of fault, no promise is broken."""
    code, line, stderr = run_command("--seeds", "1-2", "--orders", "8", "--mode", mode)

    assert (code, line["figures"]["findings"]) == (0, {}), stderr


@pytest.mark.slow
def test_a_seed_replays_byte_for_byte(tmp_path: Path):
    """The same seed and options make the same log, in another process as well."""
    for name, hash_seed in (("one", "0"), ("two", "77")):
        run_command("--seed", "4", "--orders", "8", "--log", tmp_path / name, hash_seed=hash_seed)
    first, second = ((tmp_path / name).read_bytes() for name in ("one", "two"))

    assert len(first) > 50_000
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "faults", "rule"),
    [
        ("ack-before-write", "none", "acknowledged"),
        ("outbox-drops-entries", "none", "snapshot_mismatch"),
        ("resume-skips", "cuts", "sequence"),
        ("repeats-run-again", "messages", "repeat_not_idempotent"),
    ],
)
def test_a_planted_bug_is_found(plant, faults, rule):
    """A planted bug is found by the rule it breaks."""
    options = ("--orders", "10", "--faults", faults, "--plant", plant)
    code, line, _ = run_command("--seeds", "1-8", *options)

    assert code == 1
    assert rule in line["figures"]["findings"]


@pytest.mark.slow
def test_an_order_that_is_taken_from_a_present_rider_is_found():
    """A minute must pass while the rider's fixes cannot be used, which takes more orders."""
    options = ("--orders", "24", "--faults", "none")
    code, line, _ = run_command("--seed", "1", *options, "--plant", "only-positions-count")
    _, without, _ = run_command("--seed", "1", *options)

    assert code == 1
    assert set(line["figures"]["findings"]) == {"withdrawn_while_present"}
    assert without["figures"]["findings"] == {}


@pytest.mark.parametrize("path", AUDIT_MODULES)
def test_the_auditor_imports_no_product_code(path):
    """The audit modules import no product code."""
    tree = ast.parse(path.read_text())
    names = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]

    assert PRODUCT_PACKAGES.isdisjoint(name.partition(".")[0] for name in names)
