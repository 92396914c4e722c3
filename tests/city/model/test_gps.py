"""The simulated phone against the shape of real traces."""

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
    phone, rng = GpsReceiver(seeded_random("phone")), seeded_random("moving")
    return sorted(
        phone.next_interval_s(NOMINAL_S, is_moving=rng.random() < moving_share)
        for _ in range(number)
    )


def standing_errors(number: int) -> list[tuple[float, float]]:
    phone = GpsReceiver(seeded_random("standing"))
    fixes = [phone.observe(STILL, 1_000 + 5_000 * i) for i in range(number)]
    return [to_metres(fix["lat"], fix["lng"]) for fix in fixes]


def test_regular_cadence() -> None:
    """Real phones report after 5.0 s in the median and within half a second in 85 %."""
    seen = intervals(20_000)
    regular = [interval for interval in seen if 4.5 < interval < 5.5]
    assert abs(statistics.median(seen) - 5.0) < 0.01
    assert abs(len(regular) / len(seen) - 0.85) < 0.03
    assert statistics.pstdev(regular) < 0.06


def test_gaps() -> None:
    """Real phones leave 5 % of the intervals at 10 s or more and 1 % at 15 s, some far longer."""
    seen = intervals(20_000)
    assert 9.0 < seen[int(0.95 * len(seen))] < 10.5
    assert 13.0 < seen[int(0.99 * len(seen))] < 20.0
    assert 60.0 < seen[int(0.999 * len(seen))] <= 120.0


def test_gaps_come_mostly_while_standing() -> None:
    """Of the intervals above 6 s real agents on foot have 17.5 %, driving ones 5.5 %."""
    standing, riding = intervals(20_000, moving_share=0.0), intervals(20_000, moving_share=1.0)
    assert abs(sum(interval > 6 for interval in standing) / 20_000 - 0.175) < 0.03
    assert abs(sum(interval > 6 for interval in riding) / 20_000 - 0.055) < 0.02


def test_cadence_scales_with_the_policy() -> None:
    """A server that asks for a fix every 2 s gets one every 2 s."""
    phone = GpsReceiver(seeded_random("phone"))
    seen = [phone.next_interval_s(2.0, is_moving=True) for _ in range(2_000)]
    assert abs(statistics.median(seen) - 2.0) < 0.01


def test_drift_is_correlated_in_time() -> None:
    """The errors of neighbouring fixes are alike, those a minute apart much less so."""
    errors = standing_errors(4_000)
    near = statistics.mean(math.dist(a, b) ** 2 for a, b in itertools.pairwise(errors))
    far = statistics.mean(math.dist(a, b) ** 2 for a, b in zip(errors, errors[24:], strict=False))
    assert 0.5 < math.sqrt(near / 4) < 2.5
    assert far > 3 * near


def test_standing_phones_repeat_themselves() -> None:
    """About 39 % of the steps of a standing phone do not move at all."""
    errors = standing_errors(4_000)
    frozen = sum(a == b for a, b in itertools.pairwise(errors)) / len(errors)
    assert abs(frozen - 0.39) < 0.04


def test_accuracy_holds_two_thirds_of_the_errors() -> None:
    """The radius that a phone tells is that of the errors it makes."""
    phones = [GpsReceiver(seeded_random("phone", number)) for number in range(300)]
    seen = [(phone.observe(RIDING, 60_000), phone) for phone in phones]
    misses = [
        math.dist(to_metres(fix["lat"], fix["lng"]), RIDING.point) / fix["accuracy"]
        for fix, _ in seen
    ]
    assert abs(sum(miss < 1 for miss in misses) / len(misses) - 0.68) < 0.08
    assert ACCURACY_PER_SD > 1


def test_a_riding_phone_knows_its_heading_and_a_standing_one_does_not() -> None:
    """Heading and speed follow the truth; without motion there is no heading."""
    phone = GpsReceiver(seeded_random("phone"))
    riding, standing = phone.observe(RIDING, 5_000), phone.observe(STILL, 10_000)
    assert abs(riding["heading"] - 90) < 20
    assert abs(riding["speed"] - 12) < 2
    assert "heading" not in standing
    assert standing["speed"] >= 0


def test_sequence_and_time_only_go_up() -> None:
    """Every fix has the next number and the moment at which it was made."""
    phone = GpsReceiver(seeded_random("phone"))
    fixes = [phone.observe(STILL, 1_000 * i) for i in range(1, 50)]
    assert [fix["seq"] for fix in fixes] == list(range(1, 50))
    assert [fix["ts"] for fix in fixes] == [1_000 * i for i in range(1, 50)]


def test_the_seed_decides() -> None:
    """Two phones of one seed say the same, of two seeds they do not."""
    fixes = [GpsReceiver(seeded_random(seed)).observe(RIDING, 5_000) for seed in ("a", "a", "b")]
    assert fixes[0] == fixes[1]
    assert fixes[0] != fixes[2]


def test_degrees_and_metres_are_inverse() -> None:
    """A point survives the way to degrees and back to a centimetre."""
    point = (-4_321.0, 2_345.0)
    assert math.dist(to_metres(*to_degrees(point)), point) < 0.01
