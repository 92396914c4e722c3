"""Stores and settings that the engine's checks of orders read and write."""

from typing import NamedTuple

from dispatch.events.alerts import Alerts
from dispatch.events.operations_board import OperationsBoard
from dispatch.ids import OrderId
from dispatch.orders.decision_store import DecisionStore
from dispatch.orders.learned_stats import LearnedStats
from dispatch.orders.offers.approach_store import ApproachStore
from dispatch.orders.offers.display_receipts import DisplayReceipts
from dispatch.orders.offers.offer_pauses import OfferPauses
from dispatch.orders.offers.policy_store import OfferPolicyStore
from dispatch.storage.leases import Fence
from dispatch.storage.timers import Timers
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.stores.rider_index import RiderIndex
from matching.speeds import LearnedSpeeds


class EngineLookups(NamedTuple):
    """The engine's stores and settings.

    Units: `fresh_ms` is how old a rider's position may be, in milliseconds; `time_scale` is how
    many times faster than real time a replayed city runs.
    """

    positions: Positions
    rider_index: RiderIndex
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

    async def put_timer(self, order_id: OrderId, due_ms: int) -> None:
        """Schedule an order's next check. Units: Unix milliseconds.

        Errors: LeadershipLost; StoreUnavailable.
        """
        await self.timers.reschedule(order_id, due_ms, self.fence.token())
