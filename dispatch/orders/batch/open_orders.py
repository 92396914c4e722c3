"""Every order that moves, as it was last seen: what all of them together are decided from.

The board says which orders there are and how new each is; only what has changed is read again.
"""

from collections import Counter, deque
from collections.abc import Collection, Mapping

from dispatch.events.operations_board import Board
from dispatch.model import Order
from dispatch.orders.batch.problem_builder import XY, place_of
from dispatch.orders.store import Orders
from dispatch.orders.transitions.waves import is_carried, wants_engine

# Orders read anew in one round; the next round reads others. One BatchGetItem has a hundred.
READ_MAX = 400
# Where so many of the last orders came from says where the next will come from.
# Source: own choice, a busy day of a city.
DEMAND_ORDERS = 2_000


class Outlook:
    """The open orders of a zone in the memory of its engine. A step's own condition decides."""

    def __init__(self, orders: Orders, board: Board) -> None:
        self._orders = orders
        self._board = board
        self._known: dict[str, Order] = {}
        self._places: deque[XY] = deque(maxlen=DEMAND_ORDERS)

    def note(self, order: Order) -> bool:
        """An order was read; whether that is news.

        What is old never takes the place of what is newer.
        """
        known = self._known.get(order.order_id)
        if known is not None and known.version >= order.version:
            return False
        if known is None:
            self._places.append(place_of(order))
        self._known[order.order_id] = order
        return True

    def demand(self) -> Mapping[XY, float]:
        """How many of the last orders came from each place."""
        return Counter(self._places)

    def clear(self) -> None:
        """Another engine may have ruled meanwhile."""
        self._known.clear()

    def forget(self, order_id: str, last: Order | None = None) -> None:
        """An order wants no engine any more; `last` is what it is now, where it is known."""
        self._known.pop(order_id, None)
        if last is not None and is_carried(last):
            self._known[order_id] = last

    async def read(self) -> Collection[Order]:
        """Every order that wants a rider, has one coming, or is on its way.

        Redis: HGETALL. DynamoDB: BatchGetItem of those that have changed.
        Errors: StoreUnavailable, TableUnavailable.
        """
        dots = {dot.order_id: dot.version for dot in await self._board.read()}
        for order_id in self._known.keys() - dots.keys():
            # It has ended. Whoever wants an engine has a last look of it, whatever the board says:
            # the board may not have heard of a new order, or have been emptied.
            if not wants_engine(self._known[order_id]):
                self.forget(order_id)
        behind = [
            order_id
            for order_id, version in dots.items()
            if order_id not in self._known or self._known[order_id].version < version
        ]
        for order in await self._orders.get_many(behind[:READ_MAX]):
            self.note(order)
        return [each for each in self._known.values() if wants_engine(each) or is_carried(each)]
