"""Generated parts of the documents: `python -m tests.documents --write` renews them.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from dispatch.wire import events
from handlers.sockets.audiences import COMMANDS

REPOSITORY = Path(__file__).resolve().parents[1]
_PART = re.compile(r"(<!-- generated: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fields_of(struct: type[msgspec.Struct]) -> str:
    """The JSON fields of a struct; one that may be left out ends in `?`."""
    fields = msgspec.structs.fields(struct)
    return ", ".join(f"{each.encode_name}{'' if each.required else '?'}" for each in fields)


def summary_of(thing: object) -> str:
    """The first line of a docstring, safe inside a table."""
    return (inspect.getdoc(thing) or "").split("\n")[0].replace("|", "\\|")


def commands() -> Iterator[str]:
    """One row per command of each namespace."""
    yield "| namespace | command | payload | meaning |"
    yield "|---|---|---|---|"
    for audience, table in COMMANDS.items():
        for name, command in table.items():
            fields = fields_of(command.struct)
            yield f"| `/{audience}` | `{name}` | `{{{fields}}}` | {summary_of(command.struct)} |"


def server_events() -> Iterator[str]:
    """One row per event; its meaning says who receives it."""
    yield "| event | payload | meaning |"
    yield "|---|---|---|"
    for _, struct in inspect.getmembers(events, inspect.isclass):
        if issubclass(struct, events.Event) and "event" in vars(struct):
            yield f"| `{struct.event}` | `{{{fields_of(struct)}}}` | {summary_of(struct)} |"


def commands_and_events() -> str:
    """The two tables of the wire contract."""
    return "\n".join((*commands(), "", *server_events()))


PARTS: Mapping[str, Callable[[], str]] = {"commands and events": commands_and_events}


def renewed(text: str) -> str:
    """A document with each of its generated parts renewed.

    Errors: KeyError for a part that nothing generates.
    """
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n\n{part[3]}", text)


def documents() -> list[Path]:
    """Every document with a generated part."""
    return [
        path
        for path in sorted(REPOSITORY.glob("docs/*.md"))
        if _PART.search(path.read_text("utf-8"))
    ]


def main() -> None:
    """Write every generated part, or say which is stale."""
    for path in documents():
        text = path.read_text("utf-8")
        if renewed(text) == text:
            continue
        if "--write" not in sys.argv:
            sys.exit(f"{path.name} is stale: python -m tests.documents --write")
        path.write_text(renewed(text), "utf-8")


if __name__ == "__main__":
    main()
