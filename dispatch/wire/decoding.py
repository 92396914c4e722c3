"""Tolerant decoding of clients' JSON: whole numbers in any spelling, unknown fields ignored.

Source: JSON Schema 2020-12, validation section 6.1.1: an `integer` is any number whose fraction is
zero, so that `6500.0` and `6.5e3` are integers. Dart, Gson and Python write them so.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec

from dispatch.wire.phones import encode_phone

DecodedT = TypeVar("DecodedT")
# Decodes the fields of types that msgspec does not know.
DecodeHook = Callable[[type[object], object], object]

# Levels of a payload that are looked through. Source: chosen; the deepest field of a command or a
# body lies three levels down, and a client's nesting must not become our recursion.
_DEPTH_MAX = 8
# Numbers from here on cannot be 64-bit integers, which no field takes. Source: IEEE 754, exact.
_WHOLE_MAX = 2.0**63
# Unknown fields that a warning names. Source: chosen; the first few show the developer the mistake.
UNKNOWN_FIELDS_MAX = 10
_NAME_CHARS_MAX = 80


def decode_json(
    raw: bytes | str, kind: type[DecodedT], decode_hook: DecodeHook | None = None
) -> DecodedT:
    """Decode JSON text as `kind`; a number with a zero fraction is an integer.

    Errors: msgspec.DecodeError; RecursionError for deep nesting.
    """
    try:
        return msgspec.json.decode(raw, type=kind, dec_hook=decode_hook)
    except msgspec.ValidationError as error:
        try:
            payload: object = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            # A number that no field can hold, such as `1e400`; the first error names its field.
            raise error from None
        return msgspec.convert(whole_numbers(payload), kind, dec_hook=decode_hook)


def convert(
    payload: object, kind: type[DecodedT], decode_hook: DecodeHook | None = None
) -> DecodedT:
    """Convert parsed JSON to `kind`; as `decode_json`.

    Errors: msgspec.ValidationError.
    """
    try:
        return msgspec.convert(payload, kind, dec_hook=decode_hook)
    except msgspec.ValidationError:
        return msgspec.convert(whole_numbers(payload), kind, dec_hook=decode_hook)


def whole_numbers(payload: object, depth: int = _DEPTH_MAX) -> object:
    """Parsed JSON with every number that has a zero fraction as an integer.

    Fields for numbers with a fraction take integers as well.
    """
    if isinstance(payload, float):
        is_whole = payload.is_integer() and -_WHOLE_MAX <= payload < _WHOLE_MAX
        return int(payload) if is_whole else payload
    if depth == 0:
        return payload
    if isinstance(payload, dict):
        fields = cast("dict[str, object]", payload)
        return {name: whole_numbers(value, depth - 1) for name, value in fields.items()}
    if isinstance(payload, list):
        return [whole_numbers(value, depth - 1) for value in cast("list[object]", payload)]
    return payload


def unknown_fields(payload: object, decoded: msgspec.Struct) -> list[str]:
    """The paths of the fields in a payload that its struct does not have; the first few.

    Shapes: `items[0].colour`.
    """
    found: list[str] = []
    _collect_unknown(payload, msgspec.to_builtins(decoded, enc_hook=encode_phone), "", found)
    return found[:UNKNOWN_FIELDS_MAX]


def _collect_unknown(payload: object, known: Any, path: str, found: list[str]) -> None:
    if len(found) >= UNKNOWN_FIELDS_MAX:
        return
    if isinstance(payload, Mapping) and isinstance(known, Mapping):
        for name, value in cast("Mapping[str, object]", payload).items():
            field_path = f"{path}.{name}" if path else name
            if name in known:
                _collect_unknown(value, known[name], field_path, found)
            else:
                found.append(field_path[:_NAME_CHARS_MAX])
    elif isinstance(payload, list) and isinstance(known, Sequence):
        pairs = zip(cast("list[object]", payload), cast("Sequence[object]", known), strict=False)
        for index, (value, known_value) in enumerate(pairs):
            _collect_unknown(value, known_value, f"{path}[{index}]", found)
