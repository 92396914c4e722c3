"""What the engine looks into before it decides."""

from typing import NamedTuple

from dispatch.events.alerts import Alerts
from dispatch.events.operations_board import Board
from dispatch.orders.decision_store import Decisions
from dispatch.orders.learned_stats import Tallies
from dispatch.orders.offers.approach_store import Pursuits
from dispatch.orders.offers.display_receipts import OfferReceipts
from dispatch.orders.offers.offer_pauses import Pauses
from dispatch.orders.offers.policy_store import Policies
from dispatch.storage.leases import Fence
from dispatch.storage.timers import Timers
from dispatch.tracking.stores.positions import Positions
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
