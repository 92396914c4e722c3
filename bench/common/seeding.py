"""Writes orders under way straight into the table, which is faster than placing thousands."""

import time
from collections.abc import Sequence

from dispatch.ids import OrderId, RiderId
from dispatch.model import (
    Dispatch,
    DispatchState,
    Order,
    OrderPayment,
    OrderStatus,
    PaymentMethod,
    PaymentState,
    Place,
)
from dispatch.orders import store as orders_store
from dispatch.riders.store import claim_order
from ledger.core.pricing import DEFAULT_RATES, price_goods
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Write

# Source: DynamoDB, a transaction writes at most 100 items.
_TRANSACTION_ITEMS_MAX = 100
_DOOR = Place(lat=4.06, lng=9.72, address="Akwa")


async def seed_orders(table: DynamoTable, pairs: int) -> None:
    """Write order `ord_i` of `usr_i`, picked up by `rdr_i`, for each pair.

    DynamoDB: TransactWriteItems, 100 items each; not idempotent.
    """
    now_ms = int(time.time() * 1000)
    numbers = range(pairs)
    await _write(
        table, [orders_store.insert_order(_order_in_transit(number, now_ms)) for number in numbers]
    )
    await _write(table, [claim_order(f"rdr_{number}", f"ord_{number}", 1) for number in numbers])


async def _write(table: DynamoTable, writes: Sequence[Write]) -> None:
    for start in range(0, len(writes), _TRANSACTION_ITEMS_MAX):
        await table.transact(writes[start : start + _TRANSACTION_ITEMS_MAX])


def _order_in_transit(number: int, now_ms: int) -> Order:
    return Order(
        order_id=OrderId(f"ord_{number}"),
        order_type="FOOD",
        user_id=f"usr_{number}",
        vendor_id="ven_0",
        status=OrderStatus.IN_TRANSIT,
        pricing=price_goods(DEFAULT_RATES["FOOD"], 10_000),
        pickup=_DOOR,
        dropoff=_DOOR,
        payment=OrderPayment(method=PaymentMethod.CASH, state=PaymentState.DUE),
        created_at=now_ms,
        updated_at=now_ms,
        version=1,
        dispatch=Dispatch(
            state=DispatchState.PICKED_UP, started_at_ms=now_ms, rider_id=RiderId(f"rdr_{number}")
        ),
    )
