"""What the engine looks into before it decides."""

from typing import NamedTuple

from dispatch.events.alerts import Alerts
from dispatch.events.operations_board import OperationsBoard
from dispatch.orders.decision_store import DecisionStore
from dispatch.orders.learned_stats import LearnedStats
from dispatch.orders.offers.approach_store import ApproachStore
from dispatch.orders.offers.display_receipts import DisplayReceipts
from dispatch.orders.offers.offer_pauses import OfferPauses
from dispatch.orders.offers.policy_store import OfferPolicyStore
from dispatch.storage.leases import Fence
from dispatch.storage.timers import Timers
from dispatch.tracking.stores.positions import Positions
from matching.speeds import LearnedSpeeds


class EngineLookups(NamedTuple):
    """The index of riders, the timers, and what is kept from one look to the next.

    Units: `fresh_ms` is how old a rider's last fix may be; `pace` how many times faster than life
    the city runs.
    """

    positions: Positions
    timers: Timers
    receipts: DisplayReceipts
    pauses: OfferPauses
    approaches: ApproachStore
    alerts: Alerts
    policies: OfferPolicyStore
    decisions: DecisionStore
    board: OperationsBoard
    learned_stats: LearnedStats
    speeds: LearnedSpeeds
    fence: Fence
    fresh_ms: int
    time_scale: float = 1.0

    async def put_timer(self, order_id: str, due_ms: int) -> None:
        """Say when an order wants its next look. Units: Unix ms.

        Errors: Deposed; StoreUnavailable.
        """
        await self.timers.reschedule(order_id, due_ms, self.fence.token())
