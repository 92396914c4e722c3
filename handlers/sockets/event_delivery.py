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
from dispatch.accounts.connection_counts import ONE_TOO_MANY, OneTooMany, Visits
from dispatch.clock import SKEW_MS, Clock
from dispatch.errors import StoreUnavailable
from dispatch.events.inbox import Entry, Head, Inboxes, parse_news
from dispatch.keys import Identity
from dispatch.orders.offers.display_receipts import OfferReceipts
from dispatch.orders.unit_of_work import DUTY, Duty
from dispatch.storage.pubsub import Callback, Feeds
from dispatch.wire import frames
from dispatch.wire.events import Resync
from handlers.sessions.session_registry import Resume, Session, Sessions

_OFFER = "delivery_request"
# Source: promise, listeners are back within 2 s of Redis.
MEND_EVERY_S = 0.25
# Inboxes looked into side by side after a gap; ten thousand take less than a second.
MENDED_AT_ONCE = 32
# Under this name a session keeps where it stands in its inbox.
_MARK = "inbox"
# An epoch that no inbox has.
_UNKNOWN = "?"


class _OfferId(msgspec.Struct, rename="camel"):
    offer_id: str


class Postman:
    """Delivers inboxes: each event once and in order, or a resync says otherwise."""

    def __init__(
        self,
        sessions: Sessions,
        inboxes: Inboxes,
        feeds: Feeds,
        receipts: OfferReceipts,
        clock: Clock,
    ) -> None:
        self._sessions = sessions
        self._inboxes = inboxes
        self._feeds = feeds
        self._receipts = receipts
        self._clock = clock
        self._listening: dict[Identity, Callback] = {}
        # By session, what came in while it was being greeted; that takes milliseconds.
        self._held: dict[str, list[Entry]] = {}
        self._on_duty: Callable[[str, Duty], None] = _nobody_asks
        self._on_offer: Callable[[str], None] = _nobody_counts
        feeds.on_gap(self._after_gap)
        # Counts the sockets of all nodes, where there are others.
        self.visits: Visits | None = None
        # Identities whose news may have been missed while Redis was away.
        self._behind: set[Identity] = set()

    def on_duty(self, callback: Callable[[str, Duty], None]) -> None:
        """Call back with the rider's id when his hands fill or empty, or his order goes on."""
        self._on_duty = callback

    def on_offer(self, callback: Callable[[str], None]) -> None:
        """Call back with the rider's id, once for each delivery that he is asked to carry."""
        self._on_offer = callback

    async def greet(self, session: Session, resume: Resume | None) -> None:
        """Start delivering to a new session, with what it missed since `resume` first.

        Where Redis is away the session catches up as soon as it is back.
        """
        # News that overtakes the answer to our question waits here; what is in both is told once.
        held = self._held[session.sid] = []
        try:
            await self._open(session, resume)
        except StoreUnavailable:
            # Where an app without a past would begin is not known, so it gets a resync.
            _mark(session, *((resume.epoch, resume.seq) if resume else (_UNKNOWN, 0)))
            self._behind.add(session.identity)
        finally:
            del self._held[session.sid]
        for entry in held:
            self._take(session, entry)

    async def _open(self, session: Session, resume: Resume | None) -> None:
        owner = session.identity
        await self._listen(owner)
        self._enter(session)
        # So long a letter may be on its way to Redis as well. An app without a past may hear what
        # was said in the second before it came.
        head, news = await self._inboxes.opening(owner, session.connected_at_ms - SKEW_MS)
        if resume is None:
            _mark(session, head.epoch, head.seq - len(news))
            for entry in news:
                self._say(session, entry)
        elif resume.epoch:
            await self._catch_up(session, resume.epoch, resume.seq, head)
        else:
            # It knew of no inbox. One may have come and gone since, as Redis does.
            self._resync(session, head)

    def _enter(self, session: Session) -> None:
        if self.visits is not None:
            self.visits.enter(session.identity, session.sid)

    async def _listen(self, owner: Identity) -> None:
        channel = keys.inbox_channel(owner)
        if owner in self._listening:
            await self._feeds.confirmed(channel)
            return
        deliver = self._listening[owner] = partial(self._heard, owner)
        await self._feeds.open(channel, deliver)

    def _heard(self, owner: Identity, message: bytes) -> None:
        self._deliver(owner, parse_news(message))

    async def part(self, session: Session) -> None:
        """Stop listening once the last session of an identity has gone."""
        owner = session.identity
        if self.visits is not None:
            self.visits.leave(owner, session.sid)
        if self._sessions.of(owner):
            return
        deliver = self._listening.pop(owner, None)
        if deliver is not None:
            await self._feeds.close(keys.inbox_channel(owner), deliver)

    async def _catch_up(self, session: Session, epoch: str, seq: int, head: Head) -> None:
        if head == Head(epoch, seq):
            _mark(session, epoch, seq)
            return
        missed = await self._inboxes.since(session.identity, epoch, seq)
        if missed is None:
            self._resync(session, head)
            return
        _mark(session, epoch, seq)
        for entry in missed:
            self._say(session, entry)

    def _resync(self, session: Session, head: Head) -> None:
        _mark(session, head.epoch, head.seq)
        resync = Resync(epoch=head.epoch, seq=head.seq)
        session.outlet.tell(frames.event_packet(session.namespace, resync))
        metrics.EVENTS_DROPPED.labels("resync").inc()

    def _deliver(self, owner: Identity, entry: Entry) -> None:
        if entry.name == ONE_TOO_MANY:
            self._send_away(owner, msgspec.json.decode(entry.body, type=OneTooMany).sid)
            return
        if entry.seq == 0:
            self._note_duty(owner, entry)
            return
        if entry.name == _OFFER:
            self._on_offer(owner.partition(":")[2])
        for session in self._sessions.of(owner):
            held = self._held.get(session.sid)
            if held is not None:
                held.append(entry)
            elif _MARK in session.state:
                self._take(session, entry)

    def _take(self, session: Session, entry: Entry) -> None:
        """Say what comes next; where something is missing before it, look into the inbox first."""
        told: Head = session.state[_MARK]
        is_known = entry.epoch == told.epoch
        if is_known and entry.seq <= told.seq:
            return
        if session.identity in self._behind or entry.seq != (told.seq + 1 if is_known else 1):
            self._behind.add(session.identity)
            return
        self._say(session, entry)

    def _say(self, session: Session, entry: Entry) -> None:
        _mark(session, entry.epoch, entry.seq)
        body = stamped(entry)
        if entry.name == _OFFER:
            offer_id = msgspec.json.decode(entry.body, type=_OfferId).offer_id
            receipts, clock = self._receipts, self._clock
            session.outlet.tell_with_ack(
                entry.name, session.namespace, body, lambda: receipts.note(offer_id, clock.now_ms())
            )
            return
        session.outlet.tell(frames.packet(session.namespace, entry.name, body))

    def _send_away(self, owner: Identity, sid: str) -> None:
        for session in [each for each in self._sessions.of(owner) if each.sid == sid]:
            session.end("too_many_sockets", may_return=False)

    def _note_duty(self, owner: Identity, entry: Entry) -> None:
        if entry.name != DUTY:
            return
        duty = msgspec.json.decode(entry.body, type=Duty)
        _, _, rider = owner.partition(":")
        self._on_duty(rider, duty)

    def _after_gap(self) -> None:
        self._behind.update(self._listening)

    async def run(self) -> None:
        """Mend what is behind, for as long as the server runs."""
        while True:
            await asyncio.sleep(MEND_EVERY_S)
            with suppress(StoreUnavailable):
                # What is left is mended the next time.
                await self.mend()

    async def mend(self) -> None:
        """Bring sessions what was said while this node could not listen.

        Errors: StoreUnavailable.
        """
        while self._behind:
            some = list(islice(self._behind, MENDED_AT_ONCE))
            await asyncio.gather(*(self._mend(owner) for owner in some))

    async def _mend(self, owner: Identity) -> None:
        """Bring one identity's sessions up to date; news that come meanwhile wait for that."""
        # One that is being greeted looks for itself.
        sessions = [s for s in self._sessions.of(owner) if s.sid not in self._held]
        marked = [(s, told) for s in sessions if (told := s.state.get(_MARK)) is not None]
        held = {session.sid: list[Entry]() for session, _ in marked}
        self._held |= held
        self._behind.discard(owner)
        for session, _ in marked:
            # The Redis that is back may know of nobody.
            self._enter(session)
        try:
            head = await self._inboxes.head(owner)
            for session, told in marked:
                await self._mend_session(session, told, head)
        except StoreUnavailable:
            # What was held is in the inbox as well.
            held = {sid: [] for sid in held}
            self._behind.add(owner)
            raise
        finally:
            for sid in held:
                del self._held[sid]
        for session, _ in marked:
            for entry in held[session.sid]:
                self._take(session, entry)

    async def _mend_session(self, session: Session, told: Head, head: Head) -> None:
        if not told.epoch or told.epoch not in (_UNKNOWN, head.epoch):
            # It is another inbox, or one may have come and gone where there was none. An app that
            # stayed hears all of the one that is there now after the resync.
            self._resync(session, Head(head.epoch, 0))
            told = Head(head.epoch, 0)
        await self._catch_up(session, told.epoch, told.seq, head)


def _mark(session: Session, epoch: str, seq: int) -> None:
    session.state[_MARK] = Head(epoch, seq)


def stamped(entry: Entry) -> bytes:
    """An event's body with its number, epoch and time. Units: Unix milliseconds."""
    tail = f'"seq":{entry.seq},"epoch":"{entry.epoch}","ts":{entry.ts_ms}}}'.encode()
    comma = b"" if entry.body == b"{}" else b","
    return entry.body[:-1] + comma + tail


def _nobody_asks(_rider: str, _duty: Duty) -> None:
    """Before the rider's audience is wired there is nobody to tell."""


def _nobody_counts(_rider: str) -> None:
    """Before the rider's audience is wired nobody counts what he is asked."""
