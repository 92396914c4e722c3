"""What the engine looks into before it decides."""

from typing import NamedTuple

from dispatch.store.alerts import Alerts
from dispatch.store.decisions import Decisions
from dispatch.store.leases import Fence
from dispatch.store.offers import OfferReceipts
from dispatch.store.pauses import Pauses
from dispatch.store.policies import Policies
from dispatch.store.positions import Positions
from dispatch.store.pursuits import Pursuits
from dispatch.store.timers import Timers


class Finds(NamedTuple):
    """The index of riders, the timers, and what is kept from one look to the next.

    Units: `fresh_ms` is how old a rider's last fix may be.
    """

    positions: Positions
    timers: Timers
    receipts: OfferReceipts
    pauses: Pauses
    pursuits: Pursuits
    alerts: Alerts
    policies: Policies
    decisions: Decisions
    fence: Fence
    fresh_ms: int

    async def put_timer(self, order_id: str, due_ms: int) -> None:
        """Say when an order wants its next look. Units: Unix ms.

        Errors: Deposed; StoreUnavailable.
        """
        await self.timers.put(order_id, due_ms, self.fence.token())
