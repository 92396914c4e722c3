"""Instances of the public library, and its rules of time."""

from bench.mdrp.instances import Instance, fastest_delivery_minutes, travel_minutes


def test_an_instance_is_read_from_its_tables(tiny_instance: Instance):
    """Orders, couriers and restaurants have the tables' values; places are rows."""
    assert (tiny_instance.name, tiny_instance.metres_per_minute) == ("tiny", 100.0)
    assert [order.place for order in tiny_instance.orders] == [0, 1, 0, 1, 1]
    assert (tiny_instance.orders[3].placed, tiny_instance.orders[3].ready) == (30, 41)
    assert [courier.off_time for courier in tiny_instance.couriers] == [120, 90]
    assert [restaurant.x for restaurant in tiny_instance.restaurants] == [0.0, 3000.0]


def test_travel_takes_whole_minutes(tiny_instance: Instance):
    """901 m at 100 m a minute take ten minutes, 900 m nine."""
    assert travel_minutes(tiny_instance, (0.0, 0.0), (901.0, 0.0)) == 10
    assert travel_minutes(tiny_instance, (0.0, 0.0), (0.0, 900.0)) == 9


def test_the_fastest_delivery_waits_for_the_food_only(tiny_instance: Instance):
    """o1: 15 minutes until ready, 2 to hand over, 15 to ride, 2 at the door."""
    assert fastest_delivery_minutes(tiny_instance, tiny_instance.orders[0]) == 34
