"""A rider's true position while it stands and drives."""

import math
from dataclasses import dataclass, replace

from city.actors.city import City
from city.actors.driving import RiderMotion
from city.model.motion import VEHICLES
from city.model.seeded_random import seeded_random
from city.model.streets import to_metres

START, END = to_metres(4.049, 9.705), to_metres(4.052, 9.708)


@dataclass
class SteppedClock:
    """A clock that a test moves."""

    now_s: float = 0.0

    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic_s(self) -> float:
        return self.now_s


def motion_in(city: City) -> tuple[RiderMotion, SteppedClock]:
    clock = SteppedClock()
    stepped = replace(city, clock=clock, time_scale=1.0)
    rng = seeded_random("driving")
    return RiderMotion(stepped, START, VEHICLES["MOTORBIKE"], rng), clock


def test_a_rider_stands_until_it_drives(city: City):
    """Before any drive the rider is at its start, at rest."""
    motion, clock = motion_in(city)
    clock.now_s = 500.0
    assert (motion.true_position().point, motion.true_position().speed_mps) == (START, 0.0)


def test_a_drive_ends_at_its_destination(city: City):
    """After the drive's duration the rider is at the destination, at rest."""
    motion, clock = motion_in(city)
    route = motion.start_drive(END)
    clock.now_s = route.duration_s + 1
    assert math.dist(motion.true_position().point, END) < 0.01
    assert motion.true_position().speed_mps == 0.0


def test_a_stopped_rider_stays_where_it_is(city: City):
    """A rider who stops half-way stays there, and drives on from there."""
    motion, clock = motion_in(city)
    clock.now_s = motion.start_drive(END).duration_s / 2
    half_way = motion.true_position().point
    motion.stop()
    clock.now_s += 100
    assert motion.true_position().point == half_way
    assert motion.start_drive(END).path[0].point == half_way
