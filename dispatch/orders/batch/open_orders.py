"""Open orders of a zone in the engine's memory: what batch decisions are made from."""

from collections import Counter, deque
from collections.abc import Collection, Mapping

from dispatch.events.operations_board import OperationsBoard
from dispatch.ids import OrderId
from dispatch.model import Order
from dispatch.orders.batch.batch_input import LatLngPair, pickup_place_of
from dispatch.orders.store import OrderStore
from dispatch.orders.transitions.waves import is_after_pickup, needs_dispatch

# Changed orders read in one round; the next round reads the others. One BatchGetItem has a hundred.
READ_MAX = 400
# The demand is counted over so many of the latest orders.
# Source: chosen, a busy day of a city.
DEMAND_ORDERS = 2_000


class OpenOrders:
    """Cached open orders, by id.

    The operations board lists which orders are open and their versions; only those that have
    changed are read again. An outdated order costs a refused write, never a wrong one.
    """

    def __init__(self, orders: OrderStore, board: OperationsBoard) -> None:
        self._orders = orders
        self._board = board
        self._orders_by_id: dict[OrderId, Order] = {}
        self._recent_places: deque[LatLngPair] = deque(maxlen=DEMAND_ORDERS)

    def update(self, order: Order) -> bool:
        """Keep an order that was read; returns whether it is newer than the one that is kept."""
        known = self._orders_by_id.get(order.order_id)
        if known is not None and known.version >= order.version:
            return False
        if known is None:
            self._recent_places.append(pickup_place_of(order))
        self._orders_by_id[order.order_id] = order
        return True

    def demand(self) -> Mapping[LatLngPair, float]:
        """How many of the latest orders came from each place."""
        return Counter(self._recent_places)

    def clear(self) -> None:
        """Forget all orders, for example because another engine was live meanwhile."""
        self._orders_by_id.clear()

    def forget(self, order_id: OrderId, latest: Order | None = None) -> None:
        """Forget an order that needs no engine, unless `latest` is on its way to the customer."""
        self._orders_by_id.pop(order_id, None)
        if latest is not None and is_after_pickup(latest):
            self._orders_by_id[order_id] = latest

    async def read(self) -> Collection[Order]:
        """Every order that searches a rider, waits for one, or is on its way to the customer.

        Redis: HGETALL. DynamoDB: BatchGetItem of those that have changed.
        Errors: StoreUnavailable, TableUnavailable.
        """
        versions = {OrderId(dot.order_id): dot.version for dot in await self._board.read()}
        for order_id in self._orders_by_id.keys() - versions.keys():
            # It has ended. One that needs the engine is kept until its last check: the board may
            # not have a new order yet, or may have been emptied.
            if not needs_dispatch(self._orders_by_id[order_id]):
                self.forget(order_id)
        changed = [
            order_id
            for order_id, version in versions.items()
            if order_id not in self._orders_by_id or self._orders_by_id[order_id].version < version
        ]
        for order in await self._orders.get_many(changed[:READ_MAX]):
            self.update(order)
        return [
            each
            for each in self._orders_by_id.values()
            if needs_dispatch(each) or is_after_pickup(each)
        ]
