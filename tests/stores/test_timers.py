"""Timers: an index of deadlines in the order of their time."""

from dispatch.store.timers import Timers


async def test_due_orders_come_oldest_first_with_the_next_moment(redis):
    """What is due now, and when something will be."""
    timers = Timers(redis, "douala")
    await timers.arm({"late": 100, "later": 200, "soon": 900})

    assert await timers.due(500, 10) == (["late", "later"], 900)
    assert await timers.due(500, 1) == (["late"], 900)


async def test_arming_again_moves_and_disarming_forgets(redis):
    """One order has one timer."""
    timers = Timers(redis, "douala")
    await timers.arm({"a": 100, "b": 100})
    await timers.arm({"a": 700})
    await timers.disarm(["b"])

    assert await timers.due(500, 10) == ([], 700)


async def test_zones_do_not_see_each_other(redis):
    """Each zone's engine has its own timers."""
    await Timers(redis, "douala").arm({"a": 100})

    assert await Timers(redis, "yaounde").due(500, 10) == ([], None)
