"""The bench of a day on the running server: its parts, its score, and a tiny day."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.live import figures_of, slice_day
from bench.mdrp.instances import Instance, read_instance
from bench.mdrp.replay_courier import ReplayLog
from tests.bench.mdrp.tiny import write_instance

ROOT = Path(__file__).parents[2]
# Far above the quarter of a minute that it takes; a busy machine is no reason to fail.
RUN_S = 240
# Two shops, two couriers until minute 60, three orders, the last of them after that.
FILES = {
    "instance_parameters.txt": "meters_per_minute\tpickup service minutes\n320\t4\n",
    "restaurants.txt": "restaurant\tx\ty\nr1\t0\t0\nr2\t900\t0\n",
    "couriers.txt": "courier\tx\ty\ton_time\toff_time\nc1\t0\t300\t0\t60\nc2\t900\t300\t0\t60\n",
    "orders.txt": (
        "order\tx\ty\tplacement_time\trestaurant\tready_time\n"
        "o1\t0\t-300\t1\tr1\t4\no2\t900\t-600\t1\tr2\t5\no3\t100\t-300\t90\tr1\t95\n"
    ),
}


@pytest.fixture
def short_day(tmp_path: Path) -> Instance:
    """The day of `FILES`."""
    return read_instance(write_instance(tmp_path, FILES))


def test_a_part_of_a_day_has_its_own_orders_and_couriers(short_day: Instance):
    """A courier of an earlier shift begins with the part; earlier orders are left out."""
    late = slice_day(short_day, 10, 200)
    assert [order.name for order in late.orders] == ["o3"]
    assert [(courier.on_time, courier.off_time) for courier in late.couriers] == [
        (10, 60),
        (10, 60),
    ]


def test_a_day_is_scored_by_its_delays(short_day: Instance):
    """Half a minute, three minutes, and two hours for the order that was never delivered."""
    log = ReplayLog()
    # Fastest: 3 + 2 + 1 + 2, 4 + 2 + 2 + 2, 5 + 2 + 1 + 2.
    log.delivered_at = {0: 1 + 8.5, 1: 1 + 13.0}
    figures = figures_of(short_day, log)
    assert figures["E_live"] == pytest.approx((0.5 + 3 + 110) / 3, abs=1e-3)
    assert (figures["orders"], figures["undelivered"]) == (3, 1)


@pytest.mark.slow
@pytest.mark.timeout(RUN_S + 20)
def test_a_day_runs_on_the_server(tmp_path: Path):
    """Every order is decided, offered, fetched and delivered; the line has what the server adds."""
    write_instance(tmp_path, FILES)
    command = [sys.executable, "-m", "bench.live", "--instances", str(tmp_path)]
    run = subprocess.run(
        [*command, "--only", "tiny", "--end", "10"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    [line] = run.stdout.splitlines()
    figures = json.loads(line)["figures"]
    assert figures["orders"] == 2, run.stderr
    assert figures["undelivered"] == 0
    assert figures["asked"] >= 2
    assert figures["decisions"] >= 1
    # How large the gap is depends on the machine: a second is a minute of the day.
    assert figures["gap"] == pytest.approx(figures["E_live"] - figures["E_decision"], abs=1e-3)
