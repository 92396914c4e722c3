"""Limits, runs and answers decoded commands: the same code for every command of every socket."""

import asyncio
from collections.abc import Sequence
from functools import partial
from inspect import isawaitable
from typing import NamedTuple

import msgspec
import structlog

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.wire import acks, frames
from handlers.refusals import NOT_FOUND_S_MIN, pad_not_found, refusal_of
from handlers.sessions.rate_limits import TokenBucket
from handlers.sessions.session_registry import Session
from handlers.sockets.command_routes import CompiledRoute
from handlers.sockets.job_queue import JobQueues

log = structlog.get_logger(__name__)

# A fix that is older, by its own time, was kept by its phone: it counts for the time in which it
# was made, and takes from what the socket was granted. Source: chosen; twice a slow round trip.
KEPT_FIX_AGE_MIN_MS = 2_000

_json_encoder = msgspec.json.Encoder()


class AckRequest(NamedTuple):
    """The acknowledgement that a client waits for; `warnings` go into it where it is `ok`."""

    ack_id: int
    warnings: Sequence[str] = ()


class HeldFix(NamedTuple):
    """The newest fix of a socket over the rate limit, until its turn."""

    route: CompiledRoute
    command: msgspec.Struct


class CommandRunner:
    """Runs one command and sends one acknowledgement, whatever its handler does.

    Without an `AckRequest` nothing is sent: the client does not wait for an answer.
    """

    __slots__ = ("_not_found_s_min", "_now_ms", "_now_s", "jobs", "warns")

    def __init__(
        self, clock: Clock, not_found_s_min: float = NOT_FOUND_S_MIN, *, warns: bool = False
    ) -> None:
        self.jobs = JobQueues()
        self._now_s = clock.monotonic_s
        self._now_ms = clock.now_ms
        self._not_found_s_min = not_found_s_min
        # Under --dev acknowledgements name the fields of a payload that were ignored.
        self.warns = warns

    def run(
        self,
        route: CompiledRoute,
        session: Session,
        command: msgspec.Struct,
        ack: AckRequest | None,
    ) -> None:
        """Run a plain function now and enqueue a coroutine function, if the rate limit allows."""
        bucket = session.fix_bucket if route.is_fix else session.command_bucket
        if not route.is_fix:
            session.on_activity()
        if not bucket.take(self._now_s()) and not self._is_kept_fix(route, session, command):
            session.on_activity()
            session.connection.count_violation()
            if route.is_fix and ack is None:
                self._hold_newest(session, HeldFix(route, command))
            else:
                self.refuse(route.name, session, ack, _rate_limited(bucket))
            return
        if not route.is_sync:
            self._enqueue(route, session, command, ack)
            return
        self._run_sync(route, session, command, ack)

    def _run_sync(
        self,
        route: CompiledRoute,
        session: Session,
        command: msgspec.Struct,
        ack: AckRequest | None,
    ) -> None:
        try:
            data = route.handler(route.context, session, command)
            # Nothing is left to do for most fixes; the call would cost a twentieth of this path.
            if ack is not None or not route.is_fix:
                self._accept(route, session, ack, data)
        except Exception as error:  # noqa: BLE001 (the gate is where errors become answers)
            self.refuse(route.name, session, ack, error)

    def _is_kept_fix(self, route: CompiledRoute, session: Session, command: msgspec.Struct) -> bool:
        """Whether a fix over the limit was made while its phone was away, and may come at once."""
        ts: float | None = getattr(command, "ts", None) if route.is_fix else None
        if ts is None or not ts < self._now_ms() - KEPT_FIX_AGE_MIN_MS:
            return False
        return session.fix_bucket.take_granted(self._now_s())

    def _hold_newest(self, session: Session, held: HeldFix) -> None:
        """Hold a fix over the limit until its turn; the one that was held before is refused.

        So it is the oldest fixes of a burst that are lost. The client does not wait for an answer.
        """
        older, session.held_fix = session.held_fix, held
        if older is None:
            wait_s = session.fix_bucket.wait_s()
            asyncio.get_running_loop().call_later(wait_s, self._run_held, session)
        else:
            self.refuse(older.route.name, session, None, _rate_limited(session.fix_bucket))

    def _run_held(self, session: Session) -> None:
        held, session.held_fix = session.held_fix, None
        if held is not None and not session.connection.closed:
            session.fix_bucket.take(self._now_s())
            self._run_sync(held.route, session, held.command, None)

    def _enqueue(
        self,
        route: CompiledRoute,
        session: Session,
        command: msgspec.Struct,
        ack: AckRequest | None,
    ) -> None:
        if self.jobs.is_full(session):
            refused = Refused(Refusal.RATE_LIMITED, "too many commands wait for their answers")
            self.refuse(route.name, session, ack, refused)
            return
        received_at_s = self._now_s()
        self.jobs.enqueue(
            session, partial(self._run_async, route, session, command, ack, received_at_s)
        )

    async def _run_async(
        self,
        route: CompiledRoute,
        session: Session,
        command: msgspec.Struct,
        ack: AckRequest | None,
        received_at_s: float,
    ) -> None:
        try:
            awaitable = route.handler(route.context, session, command)
            assert isawaitable(awaitable), "a route that is not plain has a coroutine function"
            self._accept(route, session, ack, await awaitable)
        except Exception as error:  # noqa: BLE001 (the gate is where errors become answers)
            await pad_not_found(error, self._now_s() - received_at_s, self._not_found_s_min)
            self.refuse(route.name, session, ack, error)
        route.seconds_histogram.observe(self._now_s() - received_at_s)

    def _accept(
        self, route: CompiledRoute, session: Session, ack: AckRequest | None, data: object
    ) -> None:
        if ack is not None:
            _send_ack(session, ack, acks.accepted(data, ack.warnings))
        if not route.is_fix:
            # Fixes are counted by the fix pipeline (`reeyo_fixes_received_total`).
            route.accepted_counter.inc()

    def refuse(self, name: str, session: Session, ack: AckRequest | None, error: Exception) -> None:
        """Answer a command with the refusal that stands for an error, and count it."""
        refused = refusal_of(error)
        metrics.COMMANDS.labels(name, refused.code.value).inc()
        if refused.code is Refusal.INTERNAL:
            log.error("command_failed", command=name, identity=session.identity, exc_info=error)
        if ack is not None:
            _send_ack(session, ack, acks.refused(refused))


def _send_ack(session: Session, request: AckRequest, ack: acks.Ack) -> None:
    body = _json_encoder.encode(ack)
    session.sender.send_packet(frames.encode_ack(session.namespace, request.ack_id, body))


def _rate_limited(bucket: TokenBucket) -> Refused:
    return Refused(Refusal.RATE_LIMITED, f"at most {bucket.rate_per_s:g} a second")
