"""Command tables of the audiences: which struct a command is decoded as, and which handler runs it.

The types tie each handler to its audience's context and to its command's struct.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, cast

import msgspec
from prometheus_client import Counter, Histogram

from dispatch import metrics
from dispatch.errors import Refusal, Refused
from dispatch.wire import decoding, frames
from dispatch.wire.commands import Audience, Fix
from dispatch.wire.fix_decoding import BadFix, decode_fix
from handlers.sessions.session_registry import ResumePoint, Session
from handlers.validation_messages import explain, limit_details

# What a command's acknowledgement carries under `data`.
AckData: TypeAlias = msgspec.Struct | Mapping[str, object] | None

ContextT = TypeVar("ContextT")
CommandT = TypeVar("CommandT", bound=msgspec.Struct)

# Gets its audience's context, the session and the decoded command; returns the acknowledgement's
# data. A plain function runs at once, in the order of arrival; a coroutine function runs after the
# earlier ones of its socket.
Handler: TypeAlias = Callable[[ContextT, Session, CommandT], AckData | Awaitable[AckData]]
OnConnect: TypeAlias = Callable[[Session, ResumePoint | None], Awaitable[None]]
OnDisconnect: TypeAlias = Callable[[Session], Awaitable[None]]


class Limit(StrEnum):
    """Which of a socket's buckets a command takes from."""

    COMMAND = "command"
    FIX = "fix"


@dataclass(frozen=True, slots=True)
class CommandRoute(Generic[ContextT]):
    """One line of an audience's command table; made by `route`, which checks the types."""

    struct: type[msgspec.Struct]
    handler: Handler[ContextT, Any]
    limit: Limit
    # Decodes parsed JSON more tolerantly than by the struct alone.
    # Errors: msgspec.ValidationError, BadFix.
    convert: Callable[[object], msgspec.Struct] | None = None


def route(
    struct: type[CommandT], handler: Handler[ContextT, CommandT], limit: Limit = Limit.COMMAND
) -> CommandRoute[ContextT]:
    """A command decoded as `struct` and run by `handler`."""
    return CommandRoute(struct, handler, limit)


def fix_route(handler: Handler[ContextT, Fix]) -> CommandRoute[ContextT]:
    """A command that is one GPS fix; it takes from the socket's bucket for fixes."""
    return CommandRoute(Fix, handler, Limit.FIX, decode_fix)


@dataclass(frozen=True, slots=True)
class AudienceRoutes(Generic[ContextT]):
    """Commands and connection callbacks of one kind of client, with the context of its handlers.

    `on_connect` runs after CONNECT went out and before the socket's first awaiting command;
    `on_disconnect` runs after its last. A socket whose `on_connect` fails is cut and reconnects.
    """

    name: Audience
    context: ContextT
    commands: Mapping[str, CommandRoute[ContextT]]
    on_connect: OnConnect | None = None
    on_disconnect: OnDisconnect | None = None


class DecodedCommand(NamedTuple):
    """A command, and the payload that it was decoded from."""

    command: msgspec.Struct
    payload: object


class CompiledRoute:
    """One command of one namespace, with its decoder and metrics looked up."""

    __slots__ = (
        "_convert",
        "accepted_counter",
        "context",
        "decode_json",
        "handler",
        "is_fix",
        "is_sync",
        "name",
        "seconds_histogram",
        "struct",
        "takes_bare_id",
    )

    def __init__(self, name: str, context: object, command: CommandRoute[Any]) -> None:
        self.name = name
        self.context = context
        self.struct = command.struct
        self._convert = command.convert or partial(decoding.convert, kind=command.struct)
        self.handler: Handler[Any, Any] = command.handler
        self.is_fix = command.limit is Limit.FIX
        self.is_sync = not inspect.iscoroutinefunction(command.handler)
        # Takes the payload's JSON text. Errors: msgspec.MsgspecError, RecursionError.
        self.decode_json = msgspec.json.Decoder(command.struct).decode
        required = [f.encode_name for f in msgspec.structs.fields(command.struct) if f.required]
        # `subscribe_order "ord_1"` means `{orderId: "ord_1"}`. Source: docs/contract.md.
        self.takes_bare_id = required == ["orderId"]
        self.accepted_counter: Counter = metrics.COMMANDS.labels(name, "ok")
        self.seconds_histogram: Histogram = metrics.COMMAND_SECONDS.labels(name)

    def decode_event(self, event: list[Any]) -> "DecodedCommand":
        """The command in a parsed event: its name, then at most one payload.

        Errors: Refused MALFORMED names the field that is wrong.
        """
        if len(event) > 2:
            raise Refused(Refusal.MALFORMED, "a command has one payload")
        payload: object = event[1] if len(event) == 2 else None
        if payload is None:
            payload = {}
        elif isinstance(payload, str) and self.takes_bare_id:
            payload = {"orderId": payload}
        elif not isinstance(payload, dict):
            raise Refused(Refusal.MALFORMED, "the payload must be an object")
        fields = cast("dict[str, object]", payload)
        try:
            command = self._convert(fields)
        except msgspec.ValidationError as error:
            details = limit_details(error, fields)
            raise Refused(Refusal.MALFORMED, explain(error), details) from None
        except BadFix as error:
            raise Refused(Refusal.MALFORMED, str(error)) from None
        return DecodedCommand(command, fields)


class RouteTable:
    """The compiled routes of all namespaces, by command name and by packet prefix."""

    def __init__(self, audiences: Iterable[AudienceRoutes[Any]]) -> None:
        self._by_namespace = {
            f"/{audience.name}": {
                name: CompiledRoute(name, audience.context, command)
                for name, command in audience.commands.items()
            }
            for audience in audiences
        }
        self._by_prefix = {
            namespace: {
                frames.command_prefix(namespace, name): compiled
                for name, compiled in routes.items()
                if compiled.is_sync
            }
            for namespace, routes in self._by_namespace.items()
        }

    def find(self, namespace: str, name: str) -> CompiledRoute | None:
        """The route of a command, None where its namespace has no such command."""
        return self._by_namespace[namespace].get(name)

    def sync_routes(self, namespace: str) -> Mapping[str, CompiledRoute]:
        """The plain functions of a namespace, by `frames.command_prefix`."""
        return self._by_prefix[namespace]
