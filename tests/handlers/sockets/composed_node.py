"""One node's services for tests, with sessions without a network, and orders in any stage."""

from inspect import ismethod
from itertools import count
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from msgspec.structs import replace

from dispatch.model import DispatchState as D
from dispatch.model import Order
from dispatch.orders import store as orders_store
from dispatch.riders.store import claim_order
from dispatch.storage.redis_client import RedisClients
from handlers.app.background_tasks import BackgroundTasks
from handlers.app.services import Services
from handlers.app.setup.sockets import build_socket_contexts
from handlers.sessions.rate_limits import TokenBucket
from handlers.sessions.session_registry import Session
from handlers.sockets.audiences import SocketContexts
from ledger.dynamodb.client import DynamoTable
from ledger.posting.ledger import Ledger
from ledger.records.cash_holds import CASH_LIMIT_XAF, reserve_cash
from tests.factories import a_cash_payment, an_offer, an_order
from tests.handlers.permission_matrix import STAGES

# In these an order has a rider.
_STATES_WITH_RIDER = frozenset({D.ASSIGNED, D.AT_PICKUP, D.PICKED_UP, D.AT_DROPOFF, D.DONE})
_numbers = count(1)


class RecordingSender:
    """Keeps the packets that a socket is sent."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []

    def send_event(self, packet: bytes) -> None:
        self.packets.append(packet)

    def send_position(self, packet: bytes) -> None:
        self.packets.append(packet)


def a_session(audience: str, owner: str) -> Session:
    """Build a session as far as the commands' handlers use one."""
    identity = f"{audience}:{owner}"
    principal = SimpleNamespace(id=owner, audience=audience, identity=identity)
    session = SimpleNamespace(
        principal=principal,
        identity=identity,
        namespace=f"/{audience}",
        sid=f"sid_{owner}",
        sender=RecordingSender(),
        state={},
        connected_at_ms=0,
        fix_bucket=TokenBucket(10, 20),
    )
    return cast("Any", session)


def packets_of(session: Session) -> list[bytes]:
    """The packets that a session of `a_session` was sent."""
    return cast("Any", session.sender).packets


class RecordingDynamo:
    """A DynamoDB client that notes the operations it is asked for."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.calls: list[str] = []

    def __getattr__(self, operation: str) -> Any:
        found = getattr(self._client, operation)
        if not ismethod(found):
            return found

        def call(**request: Any) -> Any:
            self.calls.append(operation)
            return found(**request)

        return call


class ComposedNode(NamedTuple):
    """The services of one node, its background parts and its stores.

    `dynamodb_calls` are the operations that its parts have asked DynamoDB for.
    """

    services: Services
    background: BackgroundTasks
    table: DynamoTable
    redis: RedisClients
    dynamodb_calls: list[str]

    @property
    def contexts(self) -> SocketContexts:
        """Each audience's context."""
        return build_socket_contexts(self.services)

    async def insert_order(self, stage: str, user: str | None = None) -> Order:
        """Store a cash order in a stage, with parties of its own but for a named user.

        Its rider, or the rider it is offered to by `ofr_1`, is `rdr_<number of the order>`.
        """
        number, now_ms = next(_numbers), self.services.clock.now_ms()
        status, state = STAGES[stage]
        rider_id = f"rdr_{number}"
        made = an_order(
            status,
            state,
            a_cash_payment(),
            rider=rider_id if state in _STATES_WITH_RIDER else None,
            offers={rider_id: an_offer(made_at_ms=now_ms)} if state is D.OFFERED else {},
        )
        order = replace(
            made,
            order_id=f"ord_{number}",
            user_id=user or f"usr_{number}",
            vendor_id=f"ven_{number}",
        )
        ledger = Ledger(self.table, self.services.clock.now_ms)
        funds = ledger.open_cash_funds(
            order.order_id, order.user_id, order.vendor_id, order.pricing
        )
        writes = [orders_store.insert_order(order), funds]
        if order.rider_id is not None:
            total = order.pricing.total
            held = reserve_cash(order.order_id, rider_id, total, CASH_LIMIT_XAF, now_ms)
            writes += [claim_order(rider_id, order.order_id, 1), *held.writes]
        await self.table.transact(writes)
        return order


def owner_of(audience: str, order: Order) -> str:
    """Name the owner of an order in an audience: who has it, or who it is offered to."""
    owners = {"user": order.user_id, "vendor": order.vendor_id}
    return owners.get(audience) or order.order_id.replace(
        "ord", "adm" if audience == "ops" else "rdr"
    )
