"""AsyncAPI document of the Socket.IO namespaces: commands, and the events of each audience."""

from collections.abc import Mapping
from typing import Any

import msgspec

from dispatch.wire import events
from dispatch.wire.events import Event
from handlers.http.framework.schemas import TITLE, VERSION, Document, json_schemas, summary_of
from handlers.sockets.command_routes import CommandRoute

CommandTables = Mapping[str, Mapping[str, CommandRoute[Any]]]

_DESCRIPTION = (
    "Socket.IO protocol 5 at /socket.io/, one namespace for each audience, token in auth.token. "
    "Every command is acknowledged {ok, data | error}. Durable events carry seq, epoch and ts."
)

_EVENTS_FOR_ALL = (events.Resync, events.ServerDraining)
# Which events each audience may receive. Kept by hand: a receiver is computed at run time from the
# order, so that no table in the code holds the audience of an event. The test of this module fails
# for an event that is missing here. Source: `docs/contract.md`, namespaces.
EVENTS_BY_AUDIENCE: Mapping[str, tuple[type[Event], ...]] = {
    "user": (
        events.PaymentFailed,
        events.OrderAccepted,
        events.OrderRejected,
        events.OrderPreparing,
        events.OrderReady,
        events.DispatchStatus,
        events.RiderAssigned,
        events.RiderArrived,
        events.OrderPickedUp,
        events.RiderLocationUpdate,
        events.EtaUpdate,
        events.OrderDelivered,
        events.OrderCancelled,
        *_EVENTS_FOR_ALL,
    ),
    "vendor": (
        events.NewOrder,
        events.RiderAssigned,
        events.RiderArrived,
        events.OrderPickedUp,
        events.OrderDelivered,
        events.OrderCancelled,
        events.OrderSettled,
        *_EVENTS_FOR_ALL,
    ),
    "rider": (
        events.DeliveryRequest,
        events.DeliveryRequestClosed,
        events.OrderReadyForPickup,
        events.OrderCancelled,
        events.OrderSettled,
        events.TrackingPolicy,
        events.PositionSource,
        *_EVENTS_FOR_ALL,
    ),
    "ops": (events.AreaDelta, events.Alert, *_EVENTS_FOR_ALL),
}


def asyncapi(tables: CommandTables) -> Document:
    """The document: every command and event. Source: AsyncAPI 3.0, Socket.IO protocol 5.

    `receive` and `send` are the server's: it receives commands and sends events.
    """
    commands = [route.struct for table in tables.values() for route in table.values()]
    all_events = [event for listed in EVENTS_BY_AUDIENCE.values() for event in listed]
    schemas, components = json_schemas([*commands, *all_events])
    next_schema = iter(schemas)
    messages: Document = {}
    channels: Document = {}
    operations: Document = {}
    for audience, table in tables.items():
        received: Document = {}
        for name, route in table.items():
            key = f"{audience}.{name}"
            messages[key] = _message(name, route.struct, next(next_schema))
            received[name] = _message_ref(key)
        channels[audience] = {"address": f"/{audience}", "messages": received}
        operations[f"{audience}_receive"] = _operation("receive", audience, received)
    for audience, listed in EVENTS_BY_AUDIENCE.items():
        sent: Document = {}
        for event in listed:
            key = f"{audience}.event.{event.event}"
            messages[key] = _message(event.event, event, next(next_schema))
            sent[f"event.{event.event}"] = _message_ref(key)
        channels[audience]["messages"] |= sent
        operations[f"{audience}_send"] = _operation("send", audience, sent)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": TITLE, "version": VERSION, "description": _DESCRIPTION},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": components},
    }


def _message(name: str, struct: type[msgspec.Struct], schema: Document) -> Document:
    return {"name": name, "summary": summary_of(struct), "payload": schema}


def _message_ref(key: str) -> Document:
    return {"$ref": f"#/components/messages/{key}"}


def _operation(action: str, audience: str, messages: Document) -> Document:
    channel = f"#/channels/{audience}"
    listed = [{"$ref": f"{channel}/messages/{name}"} for name in messages]
    return {"action": action, "channel": {"$ref": channel}, "messages": listed}
