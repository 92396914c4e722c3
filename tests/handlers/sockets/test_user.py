"""What a customer is shown who begins to watch an order while it moves."""

from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dispatch.errors import Refused
from dispatch.model import Position
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.stores.positions import Placed
from dispatch.tracking.stores.rider_facts import Facts
from dispatch.wire import commands
from handlers.sockets import user
from tests.handlers.http_api import ADA, AWA, Api
from tests.handlers.sockets.test_rider_workload import RIDER, offered
from tests.waiting import Until

pytestmark = pytest.mark.engines


def socket_of(user_id: str) -> Any:
    """A socket, as far as subscribing looks at one."""
    return SimpleNamespace(principal=SimpleNamespace(id=user_id), outlet=Deaf(), state={})


class Deaf:
    """A watcher who looks at his snapshot only."""

    def show(self, packet: bytes) -> None:
        """He does not look."""


@pytest.fixture
async def listening(api: Api, until: Until) -> AsyncIterator[Api]:
    """A desk that hears other nodes."""
    feeds = cast("Any", api.desk.watchers)._feeds
    async with until.running(feeds.run):
        yield api


def meanwhile(api: Api, monkeypatch: pytest.MonkeyPatch, do: Callable[[], Awaitable[Any]]) -> None:
    """Let something happen in the moment before a watcher joins."""
    join = api.desk.watchers.join

    async def joining(order_id: str, watcher: Any) -> None:
        await do()
        await join(order_id, watcher)

    monkeypatch.setattr(api.desk.watchers, "join", joining)


def reads(api: Api, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The orders that are read from now on."""
    seen: list[str] = []
    get = api.desk.orders.get

    async def noting(order_id: str) -> Any:
        seen.append(order_id)
        return await get(order_id)

    monkeypatch.setattr(api.desk.orders, "get", noting)
    return seen


async def test_a_rider_who_comes_meanwhile_is_shown(
    listening: Api, monkeypatch: pytest.MonkeyPatch
):
    """He said yes after the order was read and before anybody here would hear of him."""
    accept = await offered(listening)
    meanwhile(listening, monkeypatch, lambda: listening.desk.flow.accept_delivery(RIDER, accept))
    command = commands.SubscribeOrder(order_id=accept.order_id)
    shown = await user.on_subscribe_order(listening.desk, socket_of(ADA[1]), command)

    assert shown["dispatch"]["state"] == "ASSIGNED"
    assert shown["rider"]["riderId"] == AWA[1]


async def test_a_rider_who_moves_meanwhile_is_shown_where_he_is(
    listening: Api, monkeypatch: pytest.MonkeyPatch
):
    """The order is read once; what his node told before the watcher joined is not missed."""
    accept = await offered(listening)
    desk = listening.desk
    await desk.flow.accept_delivery(RIDER, accept)
    now_ms = desk.clock.now_ms()

    async def move() -> None:
        here = Position(lat=4.07, lng=9.71, ts=now_ms, received_at=now_ms)
        facts = Facts(available=True, active=1, vehicle="MOTORBIKE", name="Awa")
        placed = Placed(rider_id=AWA[1], position=here, facts=facts, cell=cell_of(4.07, 9.71))
        await desk.positions.put([placed])

    meanwhile(listening, monkeypatch, move)
    seen = reads(listening, monkeypatch)
    command = commands.SubscribeOrder(order_id=accept.order_id)
    shown = await user.on_subscribe_order(desk, socket_of(ADA[1]), command)

    assert seen == [accept.order_id]
    assert shown["rider"]["location"] == {"lat": 4.07, "lng": 9.71}
    assert shown["rider"]["state"] == "live"


async def test_an_order_of_somebody_else_is_not_joined(listening: Api):
    """Nobody listens for an order before it is known to be his."""
    accept = await offered(listening)
    command = commands.SubscribeOrder(order_id=accept.order_id)
    with pytest.raises(Refused):
        await user.on_subscribe_order(listening.desk, socket_of("usr_other"), command)

    assert not listening.desk.watchers.watched(accept.order_id)
