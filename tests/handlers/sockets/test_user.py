"""What a customer is shown who begins to watch an order while it moves."""

from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dispatch.errors import Refused
from dispatch.model import Position
from dispatch.tracking.stores.geo_cells import cell_of
from dispatch.tracking.stores.positions import PositionUpdate
from dispatch.tracking.stores.rider_facts import RiderFacts
from dispatch.wire import commands
from handlers.sockets import user
from tests.handlers.http_api import ADA, AWA, ApiClient
from tests.handlers.sockets.test_rider_workload import RIDER, offer_order
from tests.waiting import Until

pytestmark = pytest.mark.engines


def socket_of(user_id: str) -> Any:
    """A socket, as far as subscribing looks at one."""
    return SimpleNamespace(principal=SimpleNamespace(id=user_id), sender=Deaf(), state={})


class Deaf:
    """A watcher who looks at his snapshot only."""

    def send_position(self, packet: bytes) -> None:
        """He does not look."""


@pytest.fixture
async def api_with_pubsub(api: ApiClient, until: Until) -> AsyncIterator[ApiClient]:
    """A desk that hears other nodes."""
    feeds = cast("Any", api.desk.watchers)._channels
    async with until.running(feeds.run):
        yield api


def run_before_join(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, action: Callable[[], Awaitable[Any]]
) -> None:
    """Let something happen in the moment before a watcher joins."""
    join = api.desk.watchers.join

    async def joining(order_id: str, watcher: Any) -> None:
        await action()
        await join(order_id, watcher)

    monkeypatch.setattr(api.desk.watchers, "join", joining)


def record_order_reads(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The orders that are read from now on."""
    seen: list[str] = []
    get = api.desk.orders.get

    async def noting(order_id: str) -> Any:
        seen.append(order_id)
        return await get(order_id)

    monkeypatch.setattr(api.desk.orders, "get", noting)
    return seen


async def test_a_rider_who_comes_meanwhile_is_shown(
    api_with_pubsub: ApiClient, monkeypatch: pytest.MonkeyPatch
):
    """He said yes after the order was read and before anybody here would hear of him."""
    accept = await offer_order(api_with_pubsub)
    run_before_join(
        api_with_pubsub,
        monkeypatch,
        lambda: api_with_pubsub.desk.order_service.accept_delivery(RIDER, accept),
    )
    command = commands.SubscribeOrder(order_id=accept.order_id)
    shown = await user.on_subscribe_order(api_with_pubsub.desk, socket_of(ADA[1]), command)

    assert shown["dispatch"]["state"] == "ASSIGNED"
    assert shown["rider"]["riderId"] == AWA[1]


async def test_a_rider_who_moves_meanwhile_is_shown_where_he_is(
    api_with_pubsub: ApiClient, monkeypatch: pytest.MonkeyPatch
):
    """The order is read once; what his node told before the watcher joined is not missed."""
    accept = await offer_order(api_with_pubsub)
    desk = api_with_pubsub.desk
    await desk.order_service.accept_delivery(RIDER, accept)
    now_ms = desk.clock.now_ms()

    async def move() -> None:
        here = Position(lat=4.07, lng=9.71, ts=now_ms, received_at=now_ms)
        facts = RiderFacts(available=True, active=1, vehicle="MOTORBIKE", name="Awa")
        placed = PositionUpdate(
            rider_id=AWA[1], position=here, facts=facts, cell=cell_of(4.07, 9.71)
        )
        await desk.positions.put([placed])

    run_before_join(api_with_pubsub, monkeypatch, move)
    seen = record_order_reads(api_with_pubsub, monkeypatch)
    command = commands.SubscribeOrder(order_id=accept.order_id)
    shown = await user.on_subscribe_order(desk, socket_of(ADA[1]), command)

    assert seen == [accept.order_id]
    assert shown["rider"]["location"] == {"lat": 4.07, "lng": 9.71}
    assert shown["rider"]["state"] == "live"


async def test_an_order_of_somebody_else_is_not_joined(api_with_pubsub: ApiClient):
    """Nobody listens for an order before it is known to be his."""
    accept = await offer_order(api_with_pubsub)
    command = commands.SubscribeOrder(order_id=accept.order_id)
    with pytest.raises(Refused):
        await user.on_subscribe_order(api_with_pubsub.desk, socket_of("usr_other"), command)

    assert not api_with_pubsub.desk.watchers.is_watched(accept.order_id)
