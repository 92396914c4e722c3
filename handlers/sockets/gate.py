"""The one gate: decodes, limits and runs commands, answers them, and catches what goes wrong."""

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler as HttpHandler
from prometheus_client import Counter, Histogram

from dispatch import metrics
from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.wire import acks, frames
from dispatch.wire.commands import Audience as AudienceName
from handlers.http.framework import envelope
from handlers.sessions.auth import TokenRefused, Tokens
from handlers.sessions.rate_limits import JOIN_RATE, TokenBucket
from handlers.sessions.session_registry import Job, ResumePoint, Session, SessionRegistry
from handlers.sockets.validation_messages import explain
from handlers.transport.engineio_session import EngineIoSession
from handlers.transport.send_buffer import SocketSender
from handlers.transport.socketio_server import (
    SOCKET_PATH,
    ConnectRefused,
    JoinRateExceeded,
    SocketIoServer,
)
from ledger.dynamodb.table import TableUnavailable

log = structlog.get_logger(__name__)

# Commands of one socket that wait while one runs. Source: a person taps once or twice a second;
# what an app saved up during an outage fits.
BACKLOG_MAX = 32
# Source: settings, a server that drains has four seconds in all; a store answers within one.
FINISH_S_MAX = 2.0
# Source: a body has ten seconds to arrive, and every store a deadline of its own.
REQUEST_S_MAX = 15.0
# What is not there, or not yours, is told no sooner than this: to read something takes longer than
# to read nothing, and whoever guesses ids must not feel it. Source: measured, the stores answer
# within 10 ms; the ranks of 10,000 guesses in tests.e2e.guess.
NOT_FOUND_S_MIN = 0.02

# Gets the composition ("desk"), the session and the decoded command; its answer goes into the ack.
# A plain function runs at once, in the order of arrival; a coroutine after the earlier ones.
Handler = Callable[[Any, Session, Any], Awaitable[object] | object]
OnConnect = Callable[[Session, ResumePoint | None], Awaitable[None]]
OnDisconnect = Callable[[Session], Awaitable[None]]

_json_encoder = msgspec.json.Encoder()


class Limit(StrEnum):
    """Which of a socket's buckets a command takes from."""

    COMMAND = "command"
    FIX = "fix"


class CommandRoute(NamedTuple):
    """One line of an audience's table."""

    struct: type[msgspec.Struct]
    handler: Handler
    limit: Limit = Limit.COMMAND


class AudienceRoutes(NamedTuple):
    """What one kind of client may say, and what is to be done when it comes and goes.

    `on_connect` runs after CONNECT went out and before the socket's first awaiting command;
    `on_disconnect` after its last. A socket whose `on_connect` fails is cut and comes again.
    """

    name: AudienceName
    commands: Mapping[str, CommandRoute]
    on_connect: OnConnect | None = None
    on_disconnect: OnDisconnect | None = None


class _CompiledRoute:
    """A command, ready to be run."""

    __slots__ = (
        "accepted_counter",
        "decode",
        "handler",
        "is_fix",
        "is_sync",
        "name",
        "namespace",
        "seconds_histogram",
        "struct",
        "takes_bare_id",
    )

    def __init__(self, namespace: str, name: str, command: CommandRoute) -> None:
        self.namespace = namespace
        self.name = name
        self.struct = command.struct
        self.handler = command.handler
        self.is_fix = command.limit is Limit.FIX
        self.is_sync = not inspect.iscoroutinefunction(command.handler)
        self.decode = msgspec.json.Decoder(command.struct).decode
        required = [f.encode_name for f in msgspec.structs.fields(command.struct) if f.required]
        # `subscribe_order "ord_1"` means `{orderId: "ord_1"}`. Source: wire contract.
        self.takes_bare_id = required == ["orderId"]
        self.accepted_counter: Counter = metrics.COMMANDS.labels(name, "ok")
        self.seconds_histogram: Histogram = metrics.COMMAND_SECONDS.labels(name)


class Gate:
    """Decides who comes in, and answers every command once."""

    def __init__(
        self, server: SocketIoServer, sessions: SessionRegistry, tokens: Tokens, desk: object,
        audiences: list[AudienceRoutes],
    ) -> None:  # fmt: skip
        self._server = server
        self._sessions = sessions
        self._tokens = tokens
        self._desk = desk
        self._clock = server.clock
        self._audiences = {f"/{audience.name}": audience for audience in audiences}
        self.namespaces = frozenset(self._audiences)
        self._routes = {
            (namespace, name): _CompiledRoute(namespace, name, command)
            for namespace, audience in self._audiences.items()
            for name, command in audience.commands.items()
        }
        # By namespace and the beginning of a frame, as far as the end of the command's name.
        self._fast_routes = {
            namespace: {
                frames.command_prefix(namespace, row.name): row
                for row in self._routes.values()
                if row.is_sync and row.namespace == namespace
            }
            for namespace in self.namespaces
        }
        self._workers: set[asyncio.Task[None]] = set()
        server.namespace_handler = self

    # Coming and going.

    def admit(self, connection: EngineIoSession, namespace: str, auth: object) -> Session:
        """Let the bearer of a token into his own namespace. Errors: NotAdmitted, TooOften."""
        token = auth.get("token") if isinstance(auth, dict) else None
        try:
            principal = self._tokens.verify(token, self._clock.now_ms())
        except TokenRefused as refused:
            raise ConnectRefused(refused.code) from None
        if f"/{principal.audience}" != namespace:
            raise ConnectRefused("wrong_user_type")
        if self._server.limits.take_or_wait_s(
            JOIN_RATE, principal.identity, self._clock.monotonic_s()
        ):
            raise JoinRateExceeded
        session = Session(
            connection,
            SocketSender(connection.send_buffer),
            self._server.eio.generate_id(),
            principal,
            self._server.limits,
        )
        # Before CONNECT goes out: a fast client answers it before we come to say anything more.
        session.connected_at_ms = self._clock.now_ms()
        return session

    def on_join(self, session: Session, auth: object) -> None:
        """Register a session; CONNECT went out, so whatever is told now comes after it."""
        self._sessions.add(session)
        if self._fast_routes[session.namespace]:
            session.connection.try_fast_path = self._fast_handler(session)
        hook = self._audiences[session.namespace].on_connect
        if hook is not None:
            resume = _parse_resume_point(auth)
            self._enqueue(session, partial(self._run_hook, session, partial(hook, session, resume)))

    def on_leave(self, session: Session) -> None:
        """Forget a session; its audience hears of it after the socket's last command."""
        self._sessions.remove(session)
        hook = self._audiences[session.namespace].on_disconnect
        if hook is not None:
            self._enqueue(session, partial(self._run_hook, session, partial(hook, session)))

    async def finish_commands(self, deadline_s: float = FINISH_S_MAX) -> None:
        """Wait until every command that was taken has been answered, or until the deadline."""
        if self._workers:
            _, late = await asyncio.wait(self._workers, timeout=deadline_s)
            log.info("commands_finished", late=len(late))

    # Commands.

    def _fast_handler(self, session: Session) -> Callable[[str], bool]:
        """Step 0 of a fix's way: runs a plain command whose frame is as the official client's.

        One function for each socket, so that a fix is found, read, limited and run in one go.
        False, with nothing done, leaves anything unusual to `hear`.
        """
        rows, now_s, desk = (
            self._fast_routes[session.namespace],
            self._clock.monotonic_s,
            self._desk,
        )
        # A phone says one command again and again: the row is looked for where it says another.
        row, head, start = next(iter(rows.values())), "\0", 0

        def hear(text: str) -> bool:
            nonlocal row, head, start
            if not text.startswith(head):
                name_end = frames.command_name_end(text)
                found = rows.get(text[:name_end]) if name_end > 0 else None
                if found is None:
                    return False
                row, head, start = found, text[: name_end + 2], name_end + 2
            if text[-1] != "]":
                return False
            try:
                command = row.decode(text[start:-1])
            except (msgspec.MsgspecError, RecursionError):
                return False
            bucket = session.fix_bucket if row.is_fix else session.command_bucket
            if not bucket.take(now_s()):
                self._refuse_rate_limited(row, bucket, session, None)
                return True
            try:
                row.handler(desk, session, command)
            except Exception as error:  # noqa: BLE001
                self._refuse(row.name, session, None, error)
                return True
            if not row.is_fix:
                row.accepted_counter.inc()
            return True

        return hear

    def on_event(self, session: Session, event: list[Any], ack_id: int | None) -> None:
        """Run one command: its name, then its payload."""
        row = self._routes.get((session.namespace, event[0]))
        try:
            command = _decode(row, event)
        except Refused as refused:
            session.connection.count_violation()
            self._refuse(row.name if row else "unknown", session, ack_id, refused)
            return
        assert row is not None, "an unknown command is not decoded"
        if not self._take_token_or_refuse(row, session, ack_id):
            return
        if row.is_sync:
            self._run_sync(row, session, command, ack_id)
            return
        since_s = self._clock.monotonic_s()
        if len(session.jobs or ()) >= BACKLOG_MAX:
            refused = Refused(Refusal.RATE_LIMITED, "too many commands wait for their answers")
            self._refuse(row.name, session, ack_id, refused)
            return
        self._enqueue(session, partial(self._run_async, row, session, command, (ack_id, since_s)))

    def on_ack(self, session: Session, ack_id: int) -> bool:
        """The client acknowledges an event; False where none waits for that."""
        try:
            return session.sender.resolve_ack(ack_id)
        except Exception:
            log.exception("receipt_failed", who=session.identity)
            return True

    def _take_token_or_refuse(
        self, route: _CompiledRoute, session: Session, ack_id: int | None
    ) -> bool:
        bucket = session.fix_bucket if route.is_fix else session.command_bucket
        if bucket.take(self._clock.monotonic_s()):
            return True
        self._refuse_rate_limited(route, bucket, session, ack_id)
        return False

    def _refuse_rate_limited(
        self, route: _CompiledRoute, bucket: TokenBucket, session: Session, ack_id: int | None
    ) -> None:
        session.connection.count_violation()
        refused = Refused(Refusal.RATE_LIMITED, f"at most {bucket.rate_per_s:g} a second")
        self._refuse(route.name, session, ack_id, refused)

    def _run_sync(
        self, route: _CompiledRoute, session: Session, command: msgspec.Struct, ack_id: int | None
    ) -> None:
        try:
            answer = route.handler(self._desk, session, command)
            self._acknowledge(route, session, ack_id, answer)
        except Exception as error:  # noqa: BLE001
            self._refuse(route.name, session, ack_id, error)

    async def _run_async(
        self,
        route: _CompiledRoute,
        session: Session,
        command: msgspec.Struct,
        ack_and_start: tuple[int | None, float],
    ) -> None:
        ack_id, since_s = ack_and_start
        try:
            answer = await route.handler(self._desk, session, command)  # type: ignore[misc]
            self._acknowledge(route, session, ack_id, answer)
        except Exception as error:  # noqa: BLE001
            await _pad_not_found(error, self._clock.monotonic_s() - since_s)
            self._refuse(route.name, session, ack_id, error)
        route.seconds_histogram.observe(self._clock.monotonic_s() - since_s)

    async def _run_hook(self, session: Session, hook: Callable[[], Awaitable[None]]) -> None:
        try:
            await hook()
        except Exception:
            # Half greeted, a socket would miss events without knowing; it comes again.
            log.exception("hook_failed", who=session.identity)
            session.end("hook_failed")

    def _acknowledge(
        self, route: _CompiledRoute, session: Session, ack_id: int | None, answer: object
    ) -> None:
        if ack_id is not None:
            _send_ack(session, ack_id, acks.accepted(answer))
        if not route.is_fix:
            # Fixes are counted where they are taken in (`reeyo_fixes_received_total`).
            route.accepted_counter.inc()

    def _refuse(self, name: str, session: Session, ack_id: int | None, error: Exception) -> None:
        refused = refusal_of(error)
        metrics.COMMANDS.labels(name, refused.code.value).inc()
        if refused.code is Refusal.INTERNAL:
            log.error("command_failed", command=name, who=session.identity, exc_info=error)
        if ack_id is not None:
            _send_ack(session, ack_id, acks.refused(refused))

    def _enqueue(self, session: Session, job: Job) -> None:
        """Do a job after the socket's earlier ones."""
        if session.jobs is None:
            session.jobs = deque()
        session.jobs.append(job)
        if session.worker is None:
            session.worker = asyncio.get_running_loop().create_task(_run_jobs(session))
            self._workers.add(session.worker)
            session.worker.add_done_callback(self._workers.discard)


async def _run_jobs(session: Session) -> None:
    jobs = session.jobs
    while jobs:
        # The running job stays at the head: the backlog counts it.
        await jobs[0]()
        jobs.popleft()
    session.worker = session.jobs = None


def _decode(route: _CompiledRoute | None, data: list[Any]) -> msgspec.Struct:
    if route is None:
        raise Refused(Refusal.MALFORMED, "there is no such command in this namespace")
    if len(data) > 2:
        raise Refused(Refusal.MALFORMED, "a command has one payload")
    payload = data[1] if len(data) == 2 else None
    if payload is None:
        payload = {}
    elif isinstance(payload, str) and route.takes_bare_id:
        payload = {"orderId": payload}
    elif not isinstance(payload, dict):
        raise Refused(Refusal.MALFORMED, "the payload must be an object")
    try:
        return msgspec.convert(payload, route.struct)
    except msgspec.ValidationError as error:
        raise Refused(Refusal.MALFORMED, explain(error)) from None


def _send_ack(session: Session, ack_id: int, ack: acks.Ack) -> None:
    body = _json_encoder.encode(ack)
    session.sender.send_packet(frames.encode_ack(session.namespace, ack_id, body))


def _parse_resume_point(auth: object) -> ResumePoint | None:
    """Where the client says it stopped; nonsense becomes a place that gets a `resync`."""
    given = auth.get("resume") if isinstance(auth, dict) else None
    if given is None:
        return None
    try:
        return msgspec.convert(given, ResumePoint)
    except msgspec.ValidationError:
        return ResumePoint(epoch="", seq=0)


async def _pad_not_found(error: Exception, elapsed_s: float) -> None:
    """Let what is not yours take as long as what is not there."""
    if (
        isinstance(error, Refused)
        and error.code is Refusal.NOT_FOUND
        and elapsed_s < NOT_FOUND_S_MIN
    ):
        await asyncio.sleep(NOT_FOUND_S_MIN - elapsed_s)


def refusal_of(error: Exception) -> Refused:
    """What a client may know of an error."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, StoreUnavailable | TableUnavailable):
        return Refused(Refusal.UNAVAILABLE, "a store does not answer; try again in a moment")
    return Refused(Refusal.INTERNAL, "something went wrong on our side")


@web.middleware
async def http_gate(request: web.Request, handler: HttpHandler) -> web.StreamResponse:
    """Every HTTP request's way in and out; nothing but the envelope leaves it."""
    if request.path.startswith(SOCKET_PATH):
        return await handler(request)
    since_s = request.app[envelope.HTTP_EDGE].clock.monotonic_s()
    try:
        async with asyncio.timeout(REQUEST_S_MAX):
            response = envelope.preflight_response(request) or await handler(request)
    except TokenRefused as refused:
        response = envelope.token_refusal_response(refused)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = envelope.framework_refusal_response(error)
    except TimeoutError:
        log.warning("request_timed_out", path=request.path[:200])
        response = envelope.refusal_response(Refused(Refusal.UNAVAILABLE, "this took too long"))
    except Exception as error:
        await _pad_not_found(error, request.app[envelope.HTTP_EDGE].clock.monotonic_s() - since_s)
        refused = refusal_of(error)
        if refused.code is Refusal.INTERNAL:
            log.exception("request_failed", path=request.path[:200])
        response = envelope.refusal_response(refused)
    envelope.finish_response(request, response, since_s)
    return response
