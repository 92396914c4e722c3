"""The AsyncAPI document is complete: every command and every event of every audience."""

import msgspec

from dispatch.wire.events import Event
from handlers.http.framework.asyncapi import EVENTS_BY_AUDIENCE, asyncapi
from handlers.sockets.audiences import COMMANDS


def event_types(kind: type[Event] = Event) -> set[type[Event]]:
    """The concrete events of the wire package."""
    below = kind.__subclasses__()
    return set[type[Event]]().union(*map(event_types, below)) if below else {kind}


def test_every_command_is_described_under_its_audience():
    """Each row of a command table is a message of its namespace's channel."""
    document = asyncapi(COMMANDS)
    commands = {f"{audience}.{name}" for audience, table in COMMANDS.items() for name in table}

    assert commands <= set(document["components"]["messages"])
    for audience, table in COMMANDS.items():
        operation = document["operations"][f"{audience}_receive"]
        assert len(operation["messages"]) == len(table)


def test_the_table_of_events_is_complete():
    """It lists every event of the wire at least once, each once for an audience, for all four."""
    listed = {event for events in EVENTS_BY_AUDIENCE.values() for event in events}

    assert listed == event_types()
    assert set(EVENTS_BY_AUDIENCE) == set(COMMANDS)
    assert all(len(set(events)) == len(events) for events in EVENTS_BY_AUDIENCE.values())


def test_every_event_is_described_under_its_audiences():
    """An event is a message of each audience that may receive it, with a summary."""
    document = asyncapi(COMMANDS)
    messages = document["components"]["messages"]

    for audience, events in EVENTS_BY_AUDIENCE.items():
        keys = [f"{audience}.event.{event.event}" for event in events]
        assert set(keys) <= set(messages)
        assert [key for key in keys if not messages[key]["summary"]] == []
        assert len(document["operations"][f"{audience}_send"]["messages"]) == len(events)


def test_every_reference_leads_to_a_message_or_schema():
    """The document refers to nothing that it does not hold."""
    document = asyncapi(COMMANDS)
    text = msgspec.json.encode(document).decode()
    for kind in ("schemas", "messages"):
        named = {part.partition('"')[0] for part in text.split(f"#/components/{kind}/")[1:]}
        assert named <= set(document["components"][kind])
