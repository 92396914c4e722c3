"""Explains an invalid payload in one sentence, without repeating the payload."""

import re
from collections.abc import Sized
from typing import Any, cast

import msgspec

from dispatch.wire.decoding import unknown_fields

# Bounds the message, whatever a client has sent. Units: characters.
_CHARS_MAX = 160

_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_STEP = re.compile(r"(\w+)|\[(\d+)\]")
_MISSING = re.compile(r"^Object missing required field `(?P<name>[^`]*)`$")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>[^`]*)`$")
_BOUND = re.compile(r"^Expected `(?P<kind>\w+)` (?P<sign>[<>]=?) (?P<bound>\S+)$")
_LENGTH = re.compile(r"^Expected `(?P<kind>\w+)` of length (?P<sign>[<>]=) (?P<bound>\d+)$")
_PATTERN = re.compile(r"^Expected `str` matching regex ")
# What a struct of ours says of its own fields.
_NEEDS = re.compile(r"^\w+ needs `\w+`$")
# What `dispatch.wire.texts` says of a text.
_TEXT = re.compile(r"^`(?P<name>\w+)` (?P<what>must .*)$")
_TYPE = re.compile(r"^Expected `(?P<kind>[^`]*)`(?:, got .*)?$")

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_SIGNS = {"<=": "at most", ">=": "at least", "<": "below", ">": "above"}


def explain(error: msgspec.DecodeError | msgspec.ValidationError) -> str:
    """One sentence for the developer of the client, from msgspec's message.

    Source: the messages of msgspec 0.22; tests/handlers/test_validation_messages.py has each shape.
    """
    if not isinstance(error, msgspec.ValidationError):
        return "the payload is not one JSON object"
    text = str(error)
    at = _PATH.search(text)
    path = at["path"] if at else ""
    return _sentence(text[: at.start()] if at else text, path)[:_CHARS_MAX]


def limit_details(
    error: msgspec.DecodeError | msgspec.ValidationError, payload: object
) -> dict[str, object] | None:
    """The limit that a payload exceeds, with the field and its size; None for other faults.

    Shapes: `{field, limit, got}`, sizes in characters or entries.
    """
    text = str(error)
    at = _PATH.search(text)
    match = _LENGTH.match(text[: at.start()]) if at else None
    if at is None or match is None or match["sign"] != "<=":
        return None
    details: dict[str, object] = {"field": at["path"], "limit": int(match["bound"])}
    value = _value_at(payload, at["path"])
    if isinstance(value, Sized):
        details["got"] = len(value)
    return details


def _value_at(payload: Any, path: str) -> object:
    """The value at msgspec's path `items[0].name`; None for one that is not found."""
    for name, place in _STEP.findall(path):
        if name and isinstance(payload, dict):
            payload = cast("dict[str, object]", payload).get(name)
        elif place and isinstance(payload, list):
            payload = cast("list[object]", payload)[int(place)]
        else:
            return None
    return payload


def unknown_field_warnings(payload: object, decoded: msgspec.Struct) -> list[str]:
    """A warning for each field of a payload that was ignored."""
    return [f"unknown field `{path}` is ignored" for path in unknown_fields(payload, decoded)]


def _sentence(fault: str, path: str) -> str:
    subject = f"`{path}`" if path else "the payload"
    if match := _MISSING.match(fault):
        return f"`{_join_path(path, match['name'])}` is required"
    if match := _UNKNOWN.match(fault):
        return f"`{_join_path(path, match['name'])}` is not known here"
    if match := _BOUND.match(fault):
        return f"{subject} must be {_SIGNS[match['sign']]} {match['bound']}"
    if match := _LENGTH.match(fault):
        return f"{subject} must have {_length_limit(match)}"
    if _NEEDS.match(fault):
        return f"{subject}: {fault}"
    if match := _TEXT.match(fault):
        return f"`{_join_path(path, match['name'])}` {match['what']}"
    if fault.startswith("must be "):
        # The sentence of a type of our own, such as Phone.
        return f"{subject} {fault}"
    if _PATTERN.match(fault):
        return f"{subject} has the wrong form"
    if match := _TYPE.match(fault):
        kinds = [_KINDS.get(kind, kind) for kind in match["kind"].split(" | ")]
        return f"{subject} must be {' or '.join(kinds)}"
    return f"{subject} has a value that is not allowed"


def _length_limit(match: re.Match[str]) -> str:
    one, many = ("entry", "entries") if match["kind"] == "array" else ("character", "characters")
    unit = one if match["bound"] == "1" else many
    return f"{_SIGNS[match['sign']]} {match['bound']} {unit}"


def _join_path(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
