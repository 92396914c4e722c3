"""The town keeps its promises under faults, is replayed to the byte, and planted bugs are found."""

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
    """Run the command; its exit code and its line."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *options],
        cwd=HERE.parents[1],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize(
    ("seeds", "orders"), [("1", "3"), pytest.param("1-2", "8", marks=pytest.mark.slow)]
)
def test_promises_are_kept_under_every_fault(seeds, orders):
    """Seeds with every kind of fault: nothing lost, doubled, late, or out of balance."""
    code, line, said = run_command("--seeds", seeds, "--orders", orders)

    assert (code, line["figures"]["findings"]) == (0, {}), said
    # How long a seed's story is, changes with every message that is sent or spared.
    assert line["figures"]["simulated_s"] > 15


@pytest.mark.slow
def test_a_throttled_table_is_not_flooded():
    """Of all calls 30 % are refused and 10 % lose their reply: all is kept in thrice the calls."""
    seed = ("--seed", "1", "--orders", "8", "--faults")
    _, calm, _ = run_command(*seed, "none")
    code, line, said = run_command(*seed, "throttled")

    assert (code, line["figures"]["findings"]) == (0, {}), said
    assert line["figures"]["faults"]["dynamo_throttle"] > 100
    assert line["figures"]["dynamodb_calls"] <= 3 * calm["figures"]["dynamodb_calls"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["batch", "auto"])
def test_promises_are_kept_in_batch_modes(mode):
    """The same storm where a policy, or a backlog, has orders decided in batches."""
    code, line, said = run_command("--seeds", "1-2", "--orders", "8", "--mode", mode)

    assert (code, line["figures"]["findings"]) == (0, {}), said


@pytest.mark.slow
def test_a_seed_replays_byte_for_byte(tmp_path: Path):
    """The same seed and options make the same diary, in another process as well."""
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
        ("outbox-forgets", "none", "picture"),
        ("resume-skips", "cuts", "sequence"),
        ("repeats-count", "messages", "once"),
    ],
)
def test_a_planted_bug_is_found(plant, faults, rule):
    """Whoever breaks a promise is found by the rule that says it."""
    options = ("--orders", "10", "--faults", faults, "--plant", plant)
    code, line, _ = run_command("--seeds", "1-8", *options)

    assert code == 1
    assert rule in line["figures"]["findings"]


@pytest.mark.parametrize("path", AUDIT_MODULES)
def test_the_auditor_imports_no_product_code(path):
    """He judges by what clients saw and by raw items, and shares no code with what he judges."""
    tree = ast.parse(path.read_text())
    names = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]

    assert PRODUCT_PACKAGES.isdisjoint(name.partition(".")[0] for name in names)
