"""Orders under way that are written straight into the table."""

import pytest

from bench.common.seeding import seed_orders
from dispatch.model import DispatchState, OrderStatus
from dispatch.orders.store import OrderStore
from ledger.dynamodb.client import DynamoTable


@pytest.mark.engines
async def test_each_pair_has_an_order_under_way(table: DynamoTable):
    """More orders than fit into one transaction are written, each with its rider."""
    await seed_orders(table, 120)
    order = await OrderStore(table).get("ord_119")
    assert order is not None
    assert (order.user_id, order.status) == ("usr_119", OrderStatus.IN_TRANSIT)
    assert order.dispatch is not None
    assert (order.dispatch.rider_id, order.dispatch.state) == ("rdr_119", DispatchState.PICKED_UP)
