"""What all actors of a city share: seeded draws, places, times."""

import math
from dataclasses import replace

from city.actors.city import TRIP_MAX_M, TRIP_MIN_M, City, random_trip_m, wire_location
from city.actors.vendor import make_shop
from city.model.seeded_random import seeded_random
from city.model.streets import is_on_land, to_metres


def test_draws_depend_on_seed_and_purpose(city: City):
    """The same seed and purpose give the same draws; another purpose or seed gives others."""
    first = city.rng("a").random()
    assert city.rng("a").random() == first
    assert city.rng("b").random() != first
    assert replace(city, seed=8).rng("a").random() != first


def test_trips_have_a_bounded_length():
    """The distance to a customer is within its bounds, and 240 m in the median."""
    rng = seeded_random("trips")
    drawn = sorted(random_trip_m(rng) for _ in range(2_000))
    assert TRIP_MIN_M <= drawn[0] <= drawn[-1] <= TRIP_MAX_M
    assert 220 < drawn[1_000] < 260


def test_riders_wait_near_the_nearest_shops(city: City):
    """A rider waits within some streets of one of the three shops nearest to it."""
    city.shops = [make_shop(city, number, "FOOD") for number in range(6)]
    rng, here = seeded_random("waiting"), city.shops[0].location
    doors = sorted((shop.location for shop in city.shops), key=lambda door: math.dist(door, here))
    for _ in range(20):
        place = city.random_waiting_point(rng, near=here)
        assert is_on_land(place)
        assert min(math.dist(place, door) for door in doors[:3]) < 450


def test_without_shops_a_rider_stays_where_it_is(city: City):
    """Before any shop exists a rider waits at its own place."""
    assert city.random_waiting_point(seeded_random("waiting"), near=(1.0, 2.0)) == (1.0, 2.0)


def test_delays_shrink_with_the_speedup(city: City):
    """At a reaction speedup of 100 a person takes a hundredth of the time."""
    slow = replace(city, reaction_speedup=1.0).human_delay_s(seeded_random("delay"), 2.0)
    assert math.isclose(city.human_delay_s(seeded_random("delay"), 2.0), slow / 100)


def test_locations_have_the_contracts_fields():
    """A location has degrees with six decimals and an address."""
    point = to_metres(4.0512345, 9.7081234)
    assert wire_location(point, "Akwa") == {"lat": 4.051234, "lng": 9.708123, "address": "Akwa"}
