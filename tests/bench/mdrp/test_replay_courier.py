"""A replayed courier's drives, clock and answers."""

import asyncio
from typing import Any

import pytest

from bench.common.client import CommandRefused
from bench.common.street import METRES_PER_DEGREE
from bench.mdrp.instances import Instance
from bench.mdrp.replay_courier import (
    LAT,
    LNG,
    DriveLeg,
    ReplayClock,
    ReplayContext,
    ReplayCourier,
    ReplayLog,
    to_degrees,
)

# Fast enough that waiting for an answer takes no time.
SPEEDUP = 1e6


class StubSocket:
    """Records commands; refuses those whose name is given."""

    def __init__(self, refused: str = "") -> None:
        self.commands: list[str] = []
        self._refused = refused

    async def call(self, name: str, payload: dict[str, Any]) -> dict[str, Any]:
        self.commands.append(name)
        if name == self._refused:
            raise CommandRefused(name, "offer_taken")
        return {}


def courier_of(
    instance: Instance, socket: StubSocket, *, declines: bool = False
) -> tuple[ReplayCourier, ReplayLog]:
    log = ReplayLog()
    log.row_by_order["ord_1"] = 0
    context = ReplayContext(instance, log, lambda _courier, _order: declines)
    courier = ReplayCourier(context, ReplayClock(0.0, SPEEDUP), 0)
    courier.socket_client = socket  # pyright: ignore[reportAttributeAccessIssue]
    return courier, log


async def offered(courier: ReplayCourier, socket: StubSocket) -> None:
    courier.on_event("delivery_request", {"orderId": "ord_1", "offerId": "ofr_1"}, 0.0)
    async with asyncio.timeout(10):
        while not socket.commands:  # noqa: ASYNC110
            await asyncio.sleep(0)


def test_a_street_is_longer_than_the_straight_line():
    """Half-way the courier is so far off the line that the street is 1.4 times as long."""
    leg = DriveLeg((0.0, 0.0), (100.0, 0.0), 10.0, 20.0)
    x, y = leg.position_at(15.0)
    assert 2 * (x**2 + y**2) ** 0.5 == pytest.approx(140.0)
    assert (leg.position_at(10.0), leg.position_at(25.0)) == ((0.0, 0.0), (100.0, 0.0))


def test_the_city_is_scaled_down_by_the_speedup():
    """At a speedup of 60 a degree's length in metres is a sixtieth of a degree."""
    lat, lng = to_degrees((METRES_PER_DEGREE, 0.0), 60.0)
    assert (lat, lng) == (LAT, pytest.approx(LNG + 1 / 60))


def test_the_clock_maps_minutes_to_wall_time():
    """At a speedup of 60 the moment two minutes later is two seconds later on the wall clock."""
    clock = ReplayClock(300.0, 60.0)
    assert clock.now() >= 300.0
    assert clock.unix_ms(302.0) - clock.unix_ms(300.0) == pytest.approx(2_000, abs=50)


@pytest.mark.parametrize(
    ("declines", "command"), [(False, "accept_delivery"), (True, "decline_delivery")]
)
async def test_an_offer_is_answered(tiny_instance: Instance, declines: bool, command: str):
    """Each offer gets the answer that the instance's draw gives, and is counted."""
    socket = StubSocket()
    courier, log = courier_of(tiny_instance, socket, declines=declines)
    await offered(courier, socket)
    assert socket.commands == [command]
    assert (log.offered, log.declined) == (1, int(declines))


async def test_a_refused_answer_is_no_failure(tiny_instance: Instance):
    """A courier whose acceptance comes too late goes on."""
    socket = StubSocket(refused="accept_delivery")
    courier, log = courier_of(tiny_instance, socket)
    await offered(courier, socket)
    courier.on_event("order_cancelled", {"orderId": "ord_1"}, 0.0)
    assert (log.offered, log.declined) == (1, 0)
