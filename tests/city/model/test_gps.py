"""The simulated GPS receiver, against measurements of real traces."""

import itertools
import math
import statistics

from city.model.gps import ACCURACY_PER_SD, NOMINAL_S, GpsReceiver
from city.model.motion import TruePosition
from city.model.seeded_random import seeded_random
from city.model.streets import to_degrees, to_metres

STILL = TruePosition((0.0, 0.0), 0.0, 0.0)
RIDING = TruePosition((100.0, 100.0), 12.0, 90.0)


def intervals(number: int, *, moving_share: float = 0.44) -> list[float]:
    receiver, rng = GpsReceiver(seeded_random("phone")), seeded_random("moving")
    return sorted(
        receiver.next_interval_s(NOMINAL_S, is_moving=rng.random() < moving_share)
        for _ in range(number)
    )


def standing_errors(number: int) -> list[tuple[float, float]]:
    receiver = GpsReceiver(seeded_random("standing"))
    fixes = [receiver.observe(STILL, 1_000 + 5_000 * i) for i in range(number)]
    return [to_metres(fix["lat"], fix["lng"]) for fix in fixes]


def test_intervals_are_five_seconds() -> None:
    """The median interval is 5.0 s, and 85 % are within half a second of it."""
    seen = intervals(20_000)
    regular = [interval for interval in seen if 4.5 < interval < 5.5]
    assert abs(statistics.median(seen) - 5.0) < 0.01
    assert abs(len(regular) / len(seen) - 0.85) < 0.03
    assert statistics.pstdev(regular) < 0.06


def test_some_intervals_are_gaps() -> None:
    """5 % of the intervals are 10 s or more, 1 % about 15 s, and one in a thousand over 60 s."""
    seen = intervals(20_000)
    assert 9.0 < seen[int(0.95 * len(seen))] < 10.5
    assert 13.0 < seen[int(0.99 * len(seen))] < 20.0
    assert 60.0 < seen[int(0.999 * len(seen))] <= 120.0


def test_gaps_come_mostly_while_standing() -> None:
    """17.5 % of the intervals are above 6 s while standing, 5.5 % while moving."""
    standing, riding = intervals(20_000, moving_share=0.0), intervals(20_000, moving_share=1.0)
    assert abs(sum(interval > 6 for interval in standing) / 20_000 - 0.175) < 0.03
    assert abs(sum(interval > 6 for interval in riding) / 20_000 - 0.055) < 0.02


def test_intervals_scale_with_the_policy() -> None:
    """At a nominal interval of 2 s the median is 2 s."""
    receiver = GpsReceiver(seeded_random("phone"))
    seen = [receiver.next_interval_s(2.0, is_moving=True) for _ in range(2_000)]
    assert abs(statistics.median(seen) - 2.0) < 0.01


def test_drift_is_correlated_in_time() -> None:
    """Successive errors differ by 0.5 to 2.5 m; two minutes apart by far more."""
    errors = standing_errors(4_000)
    near = statistics.mean(math.dist(a, b) ** 2 for a, b in itertools.pairwise(errors))
    far = statistics.mean(math.dist(a, b) ** 2 for a, b in zip(errors, errors[24:], strict=False))
    assert 0.5 < math.sqrt(near / 4) < 2.5
    assert far > 3 * near


def test_standing_receivers_repeat_positions() -> None:
    """About 39 % of the fixes of a standing receiver repeat the position exactly."""
    errors = standing_errors(4_000)
    frozen = sum(a == b for a, b in itertools.pairwise(errors)) / len(errors)
    assert abs(frozen - 0.39) < 0.04


def test_accuracy_holds_two_thirds_of_the_errors() -> None:
    """The reported accuracy is a radius that holds 68 % of the errors."""
    receivers = [GpsReceiver(seeded_random("phone", number)) for number in range(300)]
    seen = [receiver.observe(RIDING, 60_000) for receiver in receivers]
    misses = [
        math.dist(to_metres(fix["lat"], fix["lng"]), RIDING.point) / fix["accuracy"] for fix in seen
    ]
    assert abs(sum(miss < 1 for miss in misses) / len(misses) - 0.68) < 0.08
    assert ACCURACY_PER_SD > 1


def test_only_a_moving_receiver_has_a_heading() -> None:
    """Heading and speed follow the true motion; at rest there is no heading."""
    receiver = GpsReceiver(seeded_random("phone"))
    riding, standing = receiver.observe(RIDING, 5_000), receiver.observe(STILL, 10_000)
    assert abs(riding["heading"] - 90) < 20
    assert abs(riding["speed"] - 12) < 2
    assert "heading" not in standing
    assert standing["speed"] >= 0


def test_sequence_and_time_only_go_up() -> None:
    """Every fix has the next number and the time at which it was made."""
    receiver = GpsReceiver(seeded_random("phone"))
    fixes = [receiver.observe(STILL, 1_000 * i) for i in range(1, 50)]
    assert [fix["seq"] for fix in fixes] == list(range(1, 50))
    assert [fix["ts"] for fix in fixes] == [1_000 * i for i in range(1, 50)]


def test_the_seed_decides() -> None:
    """Receivers with the same seed give the same fix, with another seed another one."""
    fixes = [GpsReceiver(seeded_random(seed)).observe(RIDING, 5_000) for seed in ("a", "a", "b")]
    assert fixes[0] == fixes[1]
    assert fixes[0] != fixes[2]


def test_degrees_and_metres_are_inverse() -> None:
    """Metres to degrees and back give the same point to a centimetre."""
    point = (-4_321.0, 2_345.0)
    assert math.dist(to_metres(*to_degrees(point)), point) < 0.01
