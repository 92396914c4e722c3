"""What the engine looks into before it decides."""

from typing import NamedTuple

from dispatch.store.alerts import Alerts
from dispatch.store.board import Board
from dispatch.store.decisions import Decisions
from dispatch.store.leases import Fence
from dispatch.store.offers import OfferReceipts
from dispatch.store.pauses import Pauses
from dispatch.store.policies import Policies
from dispatch.store.positions import Positions
from dispatch.store.pursuits import Pursuits
from dispatch.store.tallies import Tallies
from dispatch.store.timers import Timers
from matching.speeds import Speeds


class Finds(NamedTuple):
    """The index of riders, the timers, and what is kept from one look to the next.

    Units: `fresh_ms` is how old a rider's last fix may be; `pace` how many times faster than life
    the city runs.
    """

    positions: Positions
    timers: Timers
    receipts: OfferReceipts
    pauses: Pauses
    pursuits: Pursuits
    alerts: Alerts
    policies: Policies
    decisions: Decisions
    board: Board
    tallies: Tallies
    speeds: Speeds
    fence: Fence
    fresh_ms: int
    pace: float = 1.0

    async def put_timer(self, order_id: str, due_ms: int) -> None:
        """Say when an order wants its next look. Units: Unix ms.

        Errors: Deposed; StoreUnavailable.
        """
        await self.timers.put(order_id, due_ms, self.fence.token())
