"""A tiny instance in the files of the public library: two couriers, five orders, one too far."""

from collections.abc import Mapping
from pathlib import Path

from bench.mdrp.instances import ExecutedTrip

FILES = {
    "instance_parameters.txt": "meters_per_minute\tpickup service minutes\n100\t4\n",
    "restaurants.txt": "restaurant\tx\ty\nr1\t0\t0\nr2\t3000\t0\n",
    "couriers.txt": (
        "courier\tx\ty\ton_time\toff_time\nc1\t0\t1000\t0\t120\nc2\t3000\t500\t5\t90\n"
    ),
    "orders.txt": (
        "order\tx\ty\tplacement_time\trestaurant\tready_time\n"
        "o1\t0\t-1500\t0\tr1\t15\n"
        "o2\t3000\t-900\t2\tr2\t12\n"
        "o3\t100\t-1400\t4\tr1\t16\n"
        "o4\t3900\t0\t30\tr2\t41\n"
        "o5\t20000\t0\t31\tr2\t40\n"
    ),
}

# c1 leaves at 3 for r1, ten minutes away: there at 13, hands over from 15 on, rides 15 minutes.
GOOD = ExecutedTrip(courier=0, sent_at=3, fixed_at=3, picked_at=15, orders=(0,))


def write_instance(folder: Path, files: Mapping[str, str]) -> Path:
    """Write an instance named "tiny" into a folder; the instance's own folder."""
    instance = folder / "tiny"
    instance.mkdir()
    for name, text in files.items():
        (instance / name).write_text(text)
    return instance
