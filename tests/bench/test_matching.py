"""The bench of matching: a tiny city of our own, and every rule that a run may break."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from bench.mdrp import instances, solution
from bench.mdrp.instances import ExecutedTrip, Instance
from bench.mdrp.replay import ReplayOptions, replay_day
from bench.mdrp.run_audit import RuleViolation, reconstruct_day, score_run
from matching.solve import POLICIES, solve
from tests.best_day import best_possible_delay

ROOT = Path(__file__).parents[2]
FILES = {
    "instance_parameters.txt": """meters_per_minute\tpickup service minutes
100\t4
""",
    "restaurants.txt": """restaurant\tx\ty
r1\t0\t0
r2\t3000\t0
""",
    "couriers.txt": """courier\tx\ty\ton_time\toff_time
c1\t0\t1000\t0\t120
c2\t3000\t500\t5\t90
""",
    "orders.txt": """order\tx\ty\tplacement_time\trestaurant\tready_time
o1\t0\t-1500\t0\tr1\t15
o2\t3000\t-900\t2\tr2\t12
o3\t100\t-1400\t4\tr1\t16
o4\t3900\t0\t30\tr2\t41
o5\t20000\t0\t31\tr2\t40
""",
}


@pytest.fixture
def tiny_instance(instance_folder: Path) -> Instance:
    """The tiny city: two couriers, five orders, one of them beyond reach."""
    return instances.read_instance(instance_folder)


def _choice(policy: str = "batch", **fields) -> ReplayOptions:
    return ReplayOptions(partial(solve, policy=policy), **fields)


# c1 leaves at 3 for r1, ten minutes away: there at 13, hands over from 15 on, rides 15 minutes.
GOOD = ExecutedTrip(courier=0, sent_at=3, fixed_at=3, picked_at=15, orders=(0,))


def test_the_day_is_worked_out_from_what_couriers_were_told(tiny_instance: Instance):
    """Pickup at 15, away at 17, 15 minutes to go, two at the door: 34, its floor; free at 36."""
    second = ExecutedTrip(courier=0, sent_at=36, fixed_at=36, picked_at=53, orders=(2,))
    day = reconstruct_day(tiny_instance, [GOOD, second])
    assert (day.picked_at, day.dropped_at) == ({0: 15, 2: 53}, {0: 34, 2: 72})
    figures = score_run(tiny_instance, [GOOD, second])
    # o5 is too far for anybody. The others: 0, 120 - 23, 68 - 31, 120 - 24 over their floors.
    assert (figures.orders, figures.set_aside) == (4, 1)
    assert pytest.approx((0 + 97 + 37 + 96) / 4) == figures.E
    assert figures.undelivered == 50
    assert figures.late == 75
    # Two hours of c1 are 30 and his two orders 20; 85 minutes of c2 are 21.25.
    assert figures.cost_per_order == pytest.approx((30 + 21.25) / 2)


@pytest.mark.parametrize(
    ("trips", "why"),
    [
        ([GOOD, ExecutedTrip(1, 60, 60, 92, (0,))], "delivered twice"),
        ([GOOD._replace(orders=(0, 0))], "delivered twice"),
        ([GOOD._replace(orders=(0, 2))], "before it is placed"),
        ([ExecutedTrip(1, 4, 4, 13, (1,))], "before he is free"),
        ([GOOD, ExecutedTrip(0, 35, 35, 52, (2,))], "before he is free"),
        ([GOOD._replace(fixed_at=16, orders=(0, 2))], "after the pickup"),
        ([GOOD._replace(fixed_at=2)], "before he leaves"),
        ([ExecutedTrip(1, 85, 85, 92, (3,))], "after his shift"),
        ([GOOD._replace(sent_at=0, fixed_at=0, picked_at=14)], "before the food is ready"),
        ([GOOD._replace(sent_at=5, fixed_at=5, picked_at=16)], "before he is there"),
        ([GOOD._replace(picked_at=16)], "later than he would"),
        ([GOOD._replace(fixed_at=4, orders=(0, 1))], "several restaurants"),
        ([GOOD._replace(orders=())], "for nothing"),
    ],
)
def test_an_illegal_run_is_void(tiny_instance: Instance, trips: list[ExecutedTrip], why: str):
    """Each rule has a run that breaks it, and is found."""
    with pytest.raises(RuleViolation, match=why):
        score_run(tiny_instance, trips)


def test_nobody_is_faster_than_the_floor(tiny_instance: Instance, monkeypatch: pytest.MonkeyPatch):
    """Should the harness ever work out an arrival below its floor, it voids the run."""
    monkeypatch.setattr("bench.mdrp.run_audit.fastest_delivery_minutes", lambda instance, order: 35)
    with pytest.raises(RuleViolation, match="faster than anybody"):
        score_run(tiny_instance, [GOOD])


def test_the_tiny_city_is_served_as_well_as_anybody_could(tiny_instance: Instance):
    """Not knowing the future, `batch` is here as good as the best of all plans that know it."""
    ours = score_run(tiny_instance, replay_day(tiny_instance, _choice()).trips)
    assert ours.undelivered == 0
    assert pytest.approx(best_possible_delay(tiny_instance)) == ours.E


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_plays_by_the_rules(tiny_instance: Instance, policy: str):
    """Whatever decides, the run is legal, and nobody beats the one who knows the future."""
    assert (
        best_possible_delay(tiny_instance)
        <= score_run(tiny_instance, replay_day(tiny_instance, _choice(policy)).trips).E
    )


@pytest.mark.parametrize("mean_prep", [False, True])
def test_a_run_is_settled_by_its_seed(tiny_instance: Instance, mean_prep: bool):
    """Twice the same choice is twice the same day, declines and guesses included."""
    choice = _choice(decline_share=0.5, uses_mean_prep=mean_prep, seed=3)
    once, again = replay_day(tiny_instance, choice), replay_day(tiny_instance, choice)
    assert (once.trips, once.offered, once.declined) == (again.trips, again.offered, again.declined)
    assert once.declined > 0
    score_run(tiny_instance, once.trips)


def test_where_everybody_declines_nothing_arrives(tiny_instance: Instance):
    """A no bars the pair for good, so that each of eight pairs is asked once."""
    replay = replay_day(tiny_instance, _choice(decline_share=1.0))
    assert replay.trips == []
    assert replay.offered == replay.declined <= 2 * len(tiny_instance.orders)


def test_decisions_are_written_as_the_library_reads_them(tiny_instance: Instance, tmp_path: Path):
    """Three tables: what was told and when, when orders moved, and every way of every courier."""
    solution.write_solution(tmp_path, tiny_instance, [GOOD])
    lines = {path.stem: path.read_text().splitlines() for path in tmp_path.glob("*.txt")}
    assert lines["solution_info_assignments"][1:] == ["3 15 c1 o1"]
    assert lines["solution_info_orders"][1:] == ["o1 0 r1 15 15 34 c1"]
    assert lines["solution_info_couriers"][1:] == ["c1 3 0 r1", "c1 17 r1 o1"]


@pytest.mark.slow
def test_the_command_prints_its_lines(instance_folder: Path, tmp_path: Path):
    """One line for the instance, one for the means, beside what others published."""
    (instance_folder.parent / "baselines.csv").write_text("inst,policy,E,cpo\ntiny,H2,7.5,12\n")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "bench.matching", "--instances", str(instance_folder.parent)]
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
