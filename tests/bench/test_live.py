"""A tiny day replayed against a real server, and what its figures are made of."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.live import figures_of, slice_day
from bench.mdrp import instances
from bench.mdrp.replay_courier import DriveLeg, ReplayLog

ROOT = Path(__file__).parents[2]
RUN_S = 60
# Two shops, two couriers, three orders, the last of them when nobody works.
FILES = {
    "instance_parameters.txt": "meters_per_minute\tpickup service minutes\n320\t4\n",
    "restaurants.txt": "restaurant\tx\ty\nr1\t0\t0\nr2\t900\t0\n",
    "couriers.txt": ("courier\tx\ty\ton_time\toff_time\nc1\t0\t300\t0\t20\nc2\t900\t300\t0\t20\n"),
    "orders.txt": (
        "order\tx\ty\tplacement_time\trestaurant\tready_time\n"
        "o1\t0\t-300\t1\tr1\t4\no2\t900\t-600\t1\tr2\t5\no3\t100\t-300\t90\tr1\t95\n"
    ),
}


def test_a_piece_of_a_day_has_its_own_orders_and_couriers(instance_folder: Path):
    """Whoever works into the piece begins with it; what was placed before is no part of it."""
    late = slice_day(instances.read_instance(instance_folder), 10, 200)
    assert [order.name for order in late.orders] == ["o3"]
    assert [(courier.on_time, courier.off_time) for courier in late.couriers] == [
        (10, 20),
        (10, 20),
    ]


def test_a_day_is_worth_its_delays(instance_folder: Path):
    """Two at the door, half a minute and three late; the third never came and counts two hours."""
    instance, diary = instances.read_instance(instance_folder), ReplayLog()
    # Floors: 3 + 2 + 1 + 2, 4 + 2 + 2 + 2, 5 + 2 + 1 + 2.
    diary.delivered_at = {0: 1 + 8.5, 1: 1 + 13.0}
    figures = figures_of(instance, diary)
    assert figures["E_live"] == pytest.approx((0.5 + 3 + 110) / 3, abs=1e-3)
    assert (figures["orders"], figures["undelivered"]) == (3, 1)


def test_a_street_is_longer_than_the_crow_flies():
    """Half of the way is off the straight line, by as much as makes it 1.4 times as long."""
    leg = DriveLeg((0.0, 0.0), (100.0, 0.0), 10.0, 20.0)
    x, y = leg.position_at(15.0)
    assert 2 * (x**2 + y**2) ** 0.5 == pytest.approx(140.0)
    assert (leg.position_at(10.0), leg.position_at(25.0)) == ((0.0, 0.0), (100.0, 0.0))


@pytest.mark.slow
@pytest.mark.timeout(RUN_S + 20)
def test_a_day_lives_on_the_running_server(instance_folder: Path):
    """Every order is offered, fetched and brought; the line says what the server has cost."""
    command = [sys.executable, "-m", "bench.live", "--instances", str(instance_folder.parent)]
    run = subprocess.run(
        [*command, "--only", "tiny", "--end", "10"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    [line] = run.stdout.splitlines()
    told = json.loads(line)
    assert told["figures"]["orders"] == 2, run.stderr
    assert told["figures"]["undelivered"] == 0
    assert told["figures"]["decisions"] > 5
    # On a busy machine a second is soon lost, and a second is a minute.
    assert -0.1 < told["figures"]["gap"] < 10
