"""Brings inbox events to the sockets of this node: live ones as they come, missed ones on resume.

Step 6 of an order's way: store.inbox numbers -> [here] -> the app.
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
from dispatch.wire import frames
from dispatch.wire.events import Resync
from handlers.sessions.session_registry import ResumePoint, Session, SessionRegistry

_OFFER_EVENT = "delivery_request"
# Source: promise, listeners are back within 2 s of Redis.
CATCH_UP_EVERY_S = 0.25
# Inboxes looked into side by side after a gap; ten thousand take less than a second.
CATCH_UPS_PARALLEL_MAX = 32
# Under this name a session keeps where it stands in its inbox.
_CURSOR = "inbox"
# An epoch that no inbox has.
_UNKNOWN_EPOCH = "?"


class _OfferId(msgspec.Struct, rename="camel"):
    offer_id: str


class EventDelivery:
    """Delivers inboxes: each event once and in order, or a resync says otherwise."""

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
        # By session, what came in while it was being greeted; that takes milliseconds.
        self._pending: dict[str, list[InboxEntry]] = {}
        self._workload_callback: Callable[[str, WorkloadChange], None] = _ignore_workload
        self._offer_callback: Callable[[str], None] = _ignore_offer
        pubsub.on_gap(self._on_gap)
        # Counts the sockets of all nodes, where there are others.
        self.connection_counts: ConnectionCounts | None = None
        # Identities whose news may have been missed while Redis was away.
        self._lagging: set[Identity] = set()

    def on_workload(self, callback: Callable[[str, WorkloadChange], None]) -> None:
        """Call back with the rider's id when his hands fill or empty, or his order goes on."""
        self._workload_callback = callback

    def on_offer(self, callback: Callable[[str], None]) -> None:
        """Call back with the rider's id, once for each delivery that he is asked to carry."""
        self._offer_callback = callback

    async def attach(self, session: Session, resume: ResumePoint | None) -> None:
        """Start delivering to a new session, with what it missed since `resume` first.

        Where Redis is away the session catches up as soon as it is back.
        """
        # News that overtakes the answer to our question waits here; what is in both is told once.
        held = self._pending[session.sid] = []
        try:
            await self._deliver_missed(session, resume)
        except StoreUnavailable:
            # Where an app without a past would begin is not known, so it gets a resync.
            _set_cursor(session, *((resume.epoch, resume.seq) if resume else (_UNKNOWN_EPOCH, 0)))
            self._lagging.add(session.identity)
        finally:
            del self._pending[session.sid]
        for entry in held:
            self._deliver_in_order(session, entry)

    async def _deliver_missed(self, session: Session, resume: ResumePoint | None) -> None:
        owner = session.identity
        await self._open_channel(owner)
        self._count_connection(session)
        # So long a letter may be on its way to Redis as well. An app without a past may hear what
        # was said in the second before it came.
        head, news = await self._inboxes.head_and_recent(owner, session.connected_at_ms - SKEW_MS)
        if resume is None:
            _set_cursor(session, head.epoch, head.seq - len(news))
            for entry in news:
                self._send(session, entry)
        elif resume.epoch:
            await self._send_since(session, resume.epoch, resume.seq, head)
        else:
            # It knew of no inbox. One may have come and gone since, as Redis does.
            self._resync(session, head)

    def _count_connection(self, session: Session) -> None:
        if self.connection_counts is not None:
            self.connection_counts.add(session.identity, session.sid)

    async def _open_channel(self, owner: Identity) -> None:
        channel = keys.inbox_channel(owner)
        if owner in self._channel_callbacks:
            await self._pubsub.wait_subscribed(channel)
            return
        deliver = self._channel_callbacks[owner] = partial(self._on_message, owner)
        await self._pubsub.subscribe(channel, deliver)

    def _on_message(self, owner: Identity, message: bytes) -> None:
        self._deliver(owner, parse_entry(message))

    async def detach(self, session: Session) -> None:
        """Stop listening once the last session of an identity has gone."""
        owner = session.identity
        if self.connection_counts is not None:
            self.connection_counts.remove(owner, session.sid)
        if self._sessions.for_identity(owner):
            return
        deliver = self._channel_callbacks.pop(owner, None)
        if deliver is not None:
            await self._pubsub.unsubscribe(keys.inbox_channel(owner), deliver)

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
            self._end_excess_socket(
                owner, msgspec.json.decode(entry.body, type=SocketLimitExceeded).sid
            )
            return
        if entry.seq == 0:
            self._report_workload(owner, entry)
            return
        if entry.name == _OFFER_EVENT:
            self._offer_callback(owner.partition(":")[2])
        for session in self._sessions.for_identity(owner):
            held = self._pending.get(session.sid)
            if held is not None:
                held.append(entry)
            elif _CURSOR in session.state:
                self._deliver_in_order(session, entry)

    def _deliver_in_order(self, session: Session, entry: InboxEntry) -> None:
        """Say what comes next; where something is missing before it, look into the inbox first."""
        told: InboxHead = session.state[_CURSOR]
        is_known = entry.epoch == told.epoch
        if is_known and entry.seq <= told.seq:
            return
        if session.identity in self._lagging or entry.seq != (told.seq + 1 if is_known else 1):
            self._lagging.add(session.identity)
            return
        self._send(session, entry)

    def _send(self, session: Session, entry: InboxEntry) -> None:
        _set_cursor(session, entry.epoch, entry.seq)
        body = stamp_body(entry)
        if entry.name == _OFFER_EVENT:
            offer_id = msgspec.json.decode(entry.body, type=_OfferId).offer_id
            receipts, clock = self._display_receipts, self._clock
            session.sender.send_with_ack(
                entry.name,
                session.namespace,
                body,
                lambda: receipts.record(offer_id, clock.now_ms()),
            )
            return
        session.sender.send_event(frames.encode_packet(session.namespace, entry.name, body))

    def _end_excess_socket(self, owner: Identity, sid: str) -> None:
        for session in [each for each in self._sessions.for_identity(owner) if each.sid == sid]:
            session.end("too_many_sockets", may_return=False)

    def _report_workload(self, owner: Identity, entry: InboxEntry) -> None:
        if entry.name != WORKLOAD_CHANGE:
            return
        duty = msgspec.json.decode(entry.body, type=WorkloadChange)
        _, _, rider = owner.partition(":")
        self._workload_callback(rider, duty)

    def _on_gap(self) -> None:
        self._lagging.update(self._channel_callbacks)

    async def run(self) -> None:
        """Mend what is behind, for as long as the server runs."""
        while True:
            await asyncio.sleep(CATCH_UP_EVERY_S)
            with suppress(StoreUnavailable):
                # What is left is mended the next time.
                await self.catch_up()

    async def catch_up(self) -> None:
        """Bring sessions what was said while this node could not listen.

        Errors: StoreUnavailable.
        """
        while self._lagging:
            some = list(islice(self._lagging, CATCH_UPS_PARALLEL_MAX))
            await asyncio.gather(*(self._catch_up_identity(owner) for owner in some))

    async def _catch_up_identity(self, owner: Identity) -> None:
        """Bring one identity's sessions up to date; news that come meanwhile wait for that."""
        # One that is being greeted looks for itself.
        sessions = [s for s in self._sessions.for_identity(owner) if s.sid not in self._pending]
        marked = [(s, told) for s in sessions if (told := s.state.get(_CURSOR)) is not None]
        held = {session.sid: list[InboxEntry]() for session, _ in marked}
        self._pending |= held
        self._lagging.discard(owner)
        for session, _ in marked:
            # The Redis that is back may know of nobody.
            self._count_connection(session)
        try:
            head = await self._inboxes.head(owner)
            for session, told in marked:
                await self._catch_up_session(session, told, head)
        except StoreUnavailable:
            # What was held is in the inbox as well.
            held = {sid: [] for sid in held}
            self._lagging.add(owner)
            raise
        finally:
            for sid in held:
                del self._pending[sid]
        for session, _ in marked:
            for entry in held[session.sid]:
                self._deliver_in_order(session, entry)

    async def _catch_up_session(self, session: Session, cursor: InboxHead, head: InboxHead) -> None:
        if not cursor.epoch or cursor.epoch not in (_UNKNOWN_EPOCH, head.epoch):
            # It is another inbox, or one may have come and gone where there was none. An app that
            # stayed hears all of the one that is there now after the resync.
            self._resync(session, InboxHead(head.epoch, 0))
            cursor = InboxHead(head.epoch, 0)
        await self._send_since(session, cursor.epoch, cursor.seq, head)


def _set_cursor(session: Session, epoch: str, seq: int) -> None:
    session.state[_CURSOR] = InboxHead(epoch, seq)


def stamp_body(entry: InboxEntry) -> bytes:
    """An event's body with its number, epoch and time. Units: Unix milliseconds."""
    tail = f'"seq":{entry.seq},"epoch":"{entry.epoch}","ts":{entry.ts_ms}}}'.encode()
    comma = b"" if entry.body == b"{}" else b","
    return entry.body[:-1] + comma + tail


def _ignore_workload(_rider: str, _duty: WorkloadChange) -> None:
    """Before the rider's audience is wired there is nobody to tell."""


def _ignore_offer(_rider: str) -> None:
    """Before the rider's audience is wired nobody counts what he is asked."""
