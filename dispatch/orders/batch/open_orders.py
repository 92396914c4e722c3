"""Every order that moves, as it was last seen: what all of them together are decided from.

The board says which orders there are and how new each is; only what has changed is read again.
"""

from collections import Counter, deque
from collections.abc import Collection, Mapping

from dispatch.events.operations_board import OperationsBoard
from dispatch.model import Order
from dispatch.orders.batch.problem_builder import XY, place_of
from dispatch.orders.store import OrderStore
from dispatch.orders.transitions.waves import is_after_pickup, needs_dispatch

# Orders read anew in one round; the next round reads others. One BatchGetItem has a hundred.
READ_MAX = 400
# Where so many of the last orders came from says where the next will come from.
# Source: own choice, a busy day of a city.
DEMAND_ORDERS = 2_000


class OpenOrders:
    """The open orders of a zone in the memory of its engine. A step's own condition decides."""

    def __init__(self, orders: OrderStore, board: OperationsBoard) -> None:
        self._orders = orders
        self._board = board
        self._orders_by_id: dict[str, Order] = {}
        self._recent_places: deque[XY] = deque(maxlen=DEMAND_ORDERS)

    def update(self, order: Order) -> bool:
        """An order was read; whether that is news.

        What is old never takes the place of what is newer.
        """
        known = self._orders_by_id.get(order.order_id)
        if known is not None and known.version >= order.version:
            return False
        if known is None:
            self._recent_places.append(place_of(order))
        self._orders_by_id[order.order_id] = order
        return True

    def demand(self) -> Mapping[XY, float]:
        """How many of the last orders came from each place."""
        return Counter(self._recent_places)

    def clear(self) -> None:
        """Another engine may have ruled meanwhile."""
        self._orders_by_id.clear()

    def forget(self, order_id: str, latest: Order | None = None) -> None:
        """An order wants no engine any more; `last` is what it is now, where it is known."""
        self._orders_by_id.pop(order_id, None)
        if latest is not None and is_after_pickup(latest):
            self._orders_by_id[order_id] = latest

    async def read(self) -> Collection[Order]:
        """Every order that wants a rider, has one coming, or is on its way.

        Redis: HGETALL. DynamoDB: BatchGetItem of those that have changed.
        Errors: StoreUnavailable, TableUnavailable.
        """
        dots = {dot.order_id: dot.version for dot in await self._board.read()}
        for order_id in self._orders_by_id.keys() - dots.keys():
            # It has ended. Whoever wants an engine has a last look of it, whatever the board says:
            # the board may not have heard of a new order, or have been emptied.
            if not needs_dispatch(self._orders_by_id[order_id]):
                self.forget(order_id)
        behind = [
            order_id
            for order_id, version in dots.items()
            if order_id not in self._orders_by_id or self._orders_by_id[order_id].version < version
        ]
        for order in await self._orders.get_many(behind[:READ_MAX]):
            self.update(order)
        return [
            each
            for each in self._orders_by_id.values()
            if needs_dispatch(each) or is_after_pickup(each)
        ]
