"""Delivers inbox events to the sockets of this node: live ones as they come, missed ones on resume.

Events are numbered in `dispatch.events.inbox`, and come here over the identity's channel.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice

import msgspec

from dispatch import keys, metrics
from dispatch.accounts.connection_counts import (
    SOCKET_LIMIT_EXCEEDED,
    ConnectionCounts,
    SocketLimitExceeded,
)
from dispatch.clock import SKEW_MS, Clock
from dispatch.errors import StoreUnavailable
from dispatch.events.inbox import InboxEntry, Inboxes, InboxHead, parse_entry
from dispatch.keys import Identity
from dispatch.orders.offers.display_receipts import DisplayReceipts
from dispatch.orders.outbox_entry import WORKLOAD_CHANGE, WorkloadChange
from dispatch.storage.pubsub import Callback, PubSub
from dispatch.tracking.stores.source_claims import SOURCE_CLAIM, SourceClaim, parse_claim
from dispatch.wire import frames
from dispatch.wire.events import Resync
from handlers.sessions.session_registry import ResumePoint, Session, SessionRegistry

_OFFER_EVENT = "delivery_request"
# With these an order is over for its customer.
_END_EVENTS = frozenset({"order_delivered", "order_cancelled", "order_rejected"})
# Source: docs/promises.md, the first event comes within 2 s of Redis' return.
CATCH_UP_EVERY_S = 0.25
# Inboxes read in parallel after a gap; ten thousand take less than a second.
CATCH_UPS_PARALLEL_MAX = 32
# The key of a session's position in its inbox, an `InboxHead`, in `Session.state`.
INBOX_CURSOR = "inbox_cursor"
# An epoch that no inbox has.
_UNKNOWN_EPOCH = "?"


class _OfferId(msgspec.Struct, rename="camel"):
    offer_id: str


class _OrderId(msgspec.Struct, rename="camel"):
    order_id: str


class EventDelivery:
    """Delivers each event of an inbox once and in order, or a `resync` where that is impossible."""

    def __init__(
        self,
        sessions: SessionRegistry,
        inboxes: Inboxes,
        pubsub: PubSub,
        display_receipts: DisplayReceipts,
        clock: Clock,
    ) -> None:
        self._sessions = sessions
        self._inboxes = inboxes
        self._pubsub = pubsub
        self._display_receipts = display_receipts
        self._clock = clock
        self._channel_callbacks: dict[Identity, Callback] = {}
        # By sid, live events that come while the session's inbox is read; that takes milliseconds.
        self._pending: dict[str, list[InboxEntry]] = {}
        self._workload_callback: Callable[[str, WorkloadChange], None] = _ignore_workload
        self._offer_callback: Callable[[str], None] = _ignore_offer
        self._end_callback: Callable[[Session, str], None] = _ignore_end
        self._source_callback: Callable[[str, SourceClaim], None] = _ignore_claim
        pubsub.on_gap(self.mark_all_lagging)
        # Counts the sockets of all nodes; None where only this node counts.
        self.connection_counts: ConnectionCounts | None = None
        # Identities whose sessions may have missed events.
        self._lagging: set[Identity] = set()

    @property
    def has_lagging_sessions(self) -> bool:
        """Whether `catch_up` has anything to do."""
        return bool(self._lagging)

    def on_workload(self, callback: Callable[[str, WorkloadChange], None]) -> None:
        """Call back with the rider's id when its workload changes or one of its orders goes on."""
        self._workload_callback = callback

    def on_order_end(self, callback: Callable[[Session, str], None]) -> None:
        """Call back with a customer's session and the id of an order whose end it is sent."""
        self._end_callback = callback

    def on_offer(self, callback: Callable[[str], None]) -> None:
        """Call back with the rider's id, once for each offer it gets."""
        self._offer_callback = callback

    def on_source_claim(self, callback: Callable[[str, SourceClaim], None]) -> None:
        """Call back with the rider's id and what a node says of one of its phones."""
        self._source_callback = callback

    async def attach(self, session: Session, resume: ResumePoint | None) -> None:
        """Start delivering to a new session, beginning with what it missed since `resume`.

        Where Redis is away the session catches up as soon as Redis is back.
        """
        # Live events that overtake the read of the inbox wait here; one that is in both is sent
        # once.
        pending = self._pending[session.sid] = []
        try:
            await self._deliver_missed(session, resume)
        except StoreUnavailable:
            # Where a session without a resume point would begin is unknown: it gets a resync.
            _set_cursor(session, *((resume.epoch, resume.seq) if resume else (_UNKNOWN_EPOCH, 0)))
            self._lagging.add(session.identity)
        finally:
            del self._pending[session.sid]
        for entry in pending:
            self._deliver_in_order(session, entry)

    async def _deliver_missed(self, session: Session, resume: ResumePoint | None) -> None:
        owner = session.identity
        await self._open_channel(owner)
        self._count_connection(session)
        # The writer's clock may be behind by as much. A session without a resume point may thus get
        # events from the second before it connected.
        head, recent = await self._inboxes.head_and_recent(owner, session.connected_at_ms - SKEW_MS)
        if resume is None:
            _set_cursor(session, head.epoch, head.seq - len(recent))
            for entry in recent:
                self._send(session, entry)
        elif resume.epoch:
            await self._send_since(session, resume.epoch, resume.seq, head)
        else:
            # It knew of no inbox; one may have come and gone since (docs/decisions/0011).
            self._resync(session, head)

    def _count_connection(self, session: Session) -> None:
        if self.connection_counts is not None:
            self.connection_counts.add(session.identity, session.sid)

    async def _open_channel(self, owner: Identity) -> None:
        channel = keys.inbox_channel(owner)
        if owner in self._channel_callbacks:
            await self._pubsub.wait_subscribed(channel)
            return
        callback = self._channel_callbacks[owner] = partial(self._on_message, owner)
        await self._pubsub.subscribe(channel, callback)

    def _on_message(self, owner: Identity, message: bytes) -> None:
        self._deliver(owner, parse_entry(message))

    async def detach(self, session: Session) -> None:
        """Stop delivering to a session; with an identity's last one its channel is closed."""
        owner = session.identity
        if self.connection_counts is not None:
            self.connection_counts.remove(owner, session.sid)
        if self._sessions.for_identity(owner):
            return
        callback = self._channel_callbacks.pop(owner, None)
        if callback is not None:
            await self._pubsub.unsubscribe(keys.inbox_channel(owner), callback)

    async def _send_since(self, session: Session, epoch: str, seq: int, head: InboxHead) -> None:
        if head == InboxHead(epoch, seq):
            _set_cursor(session, epoch, seq)
            return
        missed = await self._inboxes.events_after(session.identity, epoch, seq)
        if missed is None:
            self._resync(session, head)
            return
        _set_cursor(session, epoch, seq)
        for entry in missed:
            self._send(session, entry)

    def _resync(self, session: Session, head: InboxHead) -> None:
        _set_cursor(session, head.epoch, head.seq)
        resync = Resync(epoch=head.epoch, seq=head.seq)
        session.sender.send_event(frames.encode_event(session.namespace, resync))
        metrics.EVENTS_DROPPED.labels("resync").inc()

    def _deliver(self, owner: Identity, entry: InboxEntry) -> None:
        if entry.name == SOCKET_LIMIT_EXCEEDED:
            excess = msgspec.json.decode(entry.body, type=SocketLimitExceeded)
            self._end_excess_socket(owner, excess.sid)
            return
        if entry.name == SOURCE_CLAIM:
            self._source_callback(_id_of(owner), parse_claim(entry.body))
            return
        if entry.seq == 0:
            self._report_workload(owner, entry)
            return
        if entry.name == _OFFER_EVENT:
            self._offer_callback(_id_of(owner))
        for session in self._sessions.for_identity(owner):
            pending = self._pending.get(session.sid)
            if pending is not None:
                pending.append(entry)
            elif INBOX_CURSOR in session.state:
                self._deliver_in_order(session, entry)

    def _deliver_in_order(self, session: Session, entry: InboxEntry) -> None:
        """Send the next event; where events are missing before it, leave all to `catch_up`."""
        cursor: InboxHead = session.state[INBOX_CURSOR]
        is_same_epoch = entry.epoch == cursor.epoch
        if is_same_epoch and entry.seq <= cursor.seq:
            return
        expected_seq = cursor.seq + 1 if is_same_epoch else 1
        if session.identity in self._lagging or entry.seq != expected_seq:
            self._lagging.add(session.identity)
            return
        self._send(session, entry)

    def _send(self, session: Session, entry: InboxEntry) -> None:
        _set_cursor(session, entry.epoch, entry.seq)
        if entry.name in _END_EVENTS and session.namespace == "/user":
            order_id = msgspec.json.decode(entry.body, type=_OrderId).order_id
            self._end_callback(session, order_id)
        body = stamp_body(entry)
        if entry.name == _OFFER_EVENT:
            offer_id = msgspec.json.decode(entry.body, type=_OfferId).offer_id
            session.sender.send_with_ack(
                entry.name, session.namespace, body, partial(self._record_display, offer_id)
            )
            return
        session.sender.send_event(frames.encode_packet(session.namespace, entry.name, body))

    def _record_display(self, offer_id: str) -> None:
        self._display_receipts.record(offer_id, self._clock.now_ms())

    def _end_excess_socket(self, owner: Identity, sid: str) -> None:
        for session in [each for each in self._sessions.for_identity(owner) if each.sid == sid]:
            session.end("too_many_sockets", may_return=False)

    def _report_workload(self, owner: Identity, entry: InboxEntry) -> None:
        if entry.name != WORKLOAD_CHANGE:
            return
        self._workload_callback(_id_of(owner), msgspec.json.decode(entry.body, type=WorkloadChange))

    def mark_all_lagging(self) -> None:
        """Have `catch_up` compare every session with its inbox; called after a pub/sub gap."""
        self._lagging.update(self._channel_callbacks)

    async def run(self) -> None:
        """Catch up lagging sessions until cancelled."""
        while True:
            await asyncio.sleep(CATCH_UP_EVERY_S)
            with suppress(StoreUnavailable):
                # What is left is caught up the next time.
                await self.catch_up()

    async def catch_up(self) -> None:
        """Send sessions the events that this node could not receive.

        Errors: StoreUnavailable; the sessions that were not reached stay lagging.
        """
        while self._lagging:
            some = list(islice(self._lagging, CATCH_UPS_PARALLEL_MAX))
            await asyncio.gather(*(self._catch_up_identity(owner) for owner in some))

    async def _catch_up_identity(self, owner: Identity) -> None:
        """Bring one identity's sessions up to date; live events wait until that is done."""
        # One that is being attached reads the inbox itself.
        sessions = [s for s in self._sessions.for_identity(owner) if s.sid not in self._pending]
        cursors = [(s, cursor) for s in sessions if (cursor := s.state.get(INBOX_CURSOR))]
        pending = {session.sid: list[InboxEntry]() for session, _ in cursors}
        self._pending |= pending
        self._lagging.discard(owner)
        for session, _ in cursors:
            # A Redis that was emptied has lost the counts.
            self._count_connection(session)
        try:
            head = await self._inboxes.head(owner)
            for session, cursor in cursors:
                await self._catch_up_session(session, cursor, head)
        except StoreUnavailable:
            # The pending events are in the inbox as well.
            pending = {sid: list[InboxEntry]() for sid in pending}
            self._lagging.add(owner)
            raise
        finally:
            for sid in pending:
                del self._pending[sid]
        for session, _ in cursors:
            for entry in pending[session.sid]:
                self._deliver_in_order(session, entry)

    async def _catch_up_session(self, session: Session, cursor: InboxHead, head: InboxHead) -> None:
        if not cursor.epoch or cursor.epoch not in (_UNKNOWN_EPOCH, head.epoch):
            # The inbox is another one, or one may have come and gone where there was none. After a
            # resync a session that stayed connected gets all events of the present inbox.
            cursor = InboxHead(head.epoch, 0)
            self._resync(session, cursor)
        await self._send_since(session, cursor.epoch, cursor.seq, head)


def _id_of(owner: Identity) -> str:
    """The id in an identity like `rider:rdr_1`."""
    return owner.partition(":")[2]


def _set_cursor(session: Session, epoch: str, seq: int) -> None:
    session.state[INBOX_CURSOR] = InboxHead(epoch, seq)


def stamp_body(entry: InboxEntry) -> bytes:
    """An event's body with its number, epoch and time added.

    Shapes: `{…,"seq":7,"epoch":"e1","ts":1763000000000}`. Units: Unix milliseconds.
    """
    tail = f'"seq":{entry.seq},"epoch":"{entry.epoch}","ts":{entry.ts_ms}}}'.encode()
    comma = b"" if entry.body == b"{}" else b","
    return entry.body[:-1] + comma + tail


def _ignore_workload(_rider_id: str, _change: WorkloadChange) -> None:
    """The callback until `on_workload` sets one."""


def _ignore_end(_session: Session, _order_id: str) -> None:
    """The callback until `on_order_end` sets one."""


def _ignore_claim(_rider_id: str, _claim: SourceClaim) -> None:
    """Default before `on_source_claim`."""


def _ignore_offer(_rider_id: str) -> None:
    """The callback until `on_offer` sets one."""
