"""Builds what events pass: outbox, inboxes, timers, operations board and pub/sub."""

from typing import NamedTuple

from dispatch.events.alerts import Alerts
from dispatch.events.inbox import Inboxes
from dispatch.events.operations_board import OperationsBoard
from dispatch.events.outbox import Outbox, RelayTargets
from dispatch.orders.offers.display_receipts import DisplayReceipts
from dispatch.storage.pubsub import PubSub
from dispatch.storage.timers import Timers
from handlers.app.infrastructure import Infrastructure

# One city, one zone; more of them need a rule that says which place belongs to which.
ZONE = "douala"


class EventParts(NamedTuple):
    """The outbox, and what its events are relayed to."""

    pubsub: PubSub
    board: OperationsBoard
    timers: Timers
    inboxes: Inboxes
    display_receipts: DisplayReceipts
    outbox: Outbox


def build_event_parts(infrastructure: Infrastructure) -> EventParts:
    """The parts for the process's zone."""
    redis, scripts = infrastructure.redis, infrastructure.scripts
    inboxes, board = Inboxes(redis, scripts), OperationsBoard(redis, scripts)
    timers = Timers(redis, scripts, ZONE)
    targets = RelayTargets(inboxes, timers, board, Alerts(redis, scripts))
    return EventParts(
        pubsub=PubSub(redis),
        board=board,
        timers=timers,
        inboxes=inboxes,
        display_receipts=DisplayReceipts(redis),
        outbox=Outbox(infrastructure.table, targets, infrastructure.clock),
    )
