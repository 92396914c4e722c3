"""Valid JSON for every struct of the wire, made from its types, and the places of its fields."""

from collections.abc import Iterator
from typing import Annotated, Any, cast

import msgspec
from msgspec import inspect

from dispatch.wire.phones import Phone
from handlers.app.application import HTTP_MODULES
from handlers.http.framework.openapi import body_structs
from handlers.sockets.audiences import COMMANDS

# A text that matches a pattern of the wire; one for each pattern in use.
TEXTS = ("a_1", "+237690123456", "123456", "XAF", "promo_1")

# Where a field lies: names of fields and, for entries of a list, 0.
Path = tuple[str | int, ...]


def command_structs() -> list[type[msgspec.Struct]]:
    """The struct of every command, once."""
    listed = [route.struct for table in COMMANDS.values() for route in table.values()]
    return list(dict.fromkeys(listed))


def request_structs() -> list[type[msgspec.Struct]]:
    """The struct of every request body, once."""
    routes = [route for module in HTTP_MODULES for route in module.ROUTES]
    return list(dict.fromkeys(kind for route in routes for kind in body_structs(route.body)))


def sample_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """A payload with every field of a struct, optional ones too."""
    return cast("dict[str, Any]", _sample(inspect.type_info(struct)))


def leaf_types(struct: type[msgspec.Struct]) -> list[tuple[Path, inspect.Type]]:
    """The fields of a struct's sample that hold no further fields, with their types."""
    return [(path, _chosen(kind)) for path, kind in _leaves(inspect.type_info(struct))]


def text_paths(struct: type[msgspec.Struct]) -> list[tuple[Path, inspect.StrType, object]]:
    """Where a struct's texts without a pattern lie, their bounds, and the use that they name."""
    found = ((path, *_text_and_use(kind)) for path, kind in _leaves(inspect.type_info(struct)))
    return [(path, text, use) for path, text, use in found if text is not None and not text.pattern]


def integer_paths(struct: type[msgspec.Struct]) -> list[Path]:
    """Where a struct's integers lie in its sample."""
    return [path for path, kind in _leaves(inspect.type_info(struct)) if _takes_integer(kind)]


def object_paths(struct: type[msgspec.Struct]) -> list[Path]:
    """Where a struct's objects with named fields lie in its sample, the struct itself included."""
    return [path for path, kind in _nodes(inspect.type_info(struct)) if _is_struct(kind)]


def value_at(payload: object, path: Path) -> Any:
    """The value at a place of a payload."""
    value: Any = payload
    for step in path:
        value = value[step]
    return value


def replaced(payload: Any, path: Path, value: object) -> Any:
    """A copy of a payload with another value at a place."""
    if not path:
        return value
    copy: Any = payload.copy()
    copy[path[0]] = replaced(payload[path[0]], path[1:], value)
    return copy


def _bare(kind: inspect.Type) -> inspect.Type:
    """The type without what is said of it for the API documents."""
    return _bare(kind.type) if isinstance(kind, inspect.Metadata) else kind


def _chosen(kind: inspect.Type) -> inspect.Type:
    """The type that a sample has for a field; the first of a union that is not null."""
    kind = _bare(kind)
    if isinstance(kind, inspect.UnionType):
        return _chosen(next(e for e in kind.types if not isinstance(e, inspect.NoneType)))
    return kind


def _nodes(kind: inspect.Type, path: Path = ()) -> Iterator[tuple[Path, inspect.Type]]:
    yield path, kind
    chosen = _chosen(kind)
    if isinstance(chosen, inspect.StructType):
        for field in chosen.fields:
            yield from _nodes(field.type, (*path, field.encode_name))
    elif isinstance(chosen, inspect.ListType):
        yield from _nodes(chosen.item_type, (*path, 0))


def _leaves(kind: inspect.Type) -> Iterator[tuple[Path, inspect.Type]]:
    for path, node in _nodes(kind):
        if not isinstance(_chosen(node), inspect.StructType | inspect.ListType):
            yield path, node


def _text_and_use(kind: inspect.Type, use: object = None) -> tuple[inspect.StrType | None, object]:
    if isinstance(kind, inspect.Metadata):
        return _text_and_use(kind.type, (kind.extra or {}).get("text", use))
    if isinstance(kind, inspect.UnionType):
        found = [_text_and_use(each, use) for each in kind.types]
        return next((each for each in found if each[0] is not None), (None, use))
    return (kind, use) if isinstance(kind, inspect.StrType) else (None, use)


def _is_struct(kind: inspect.Type) -> bool:
    return isinstance(_chosen(kind), inspect.StructType)


def _takes_integer(kind: inspect.Type) -> bool:
    kind = _bare(kind)
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    has_float = any(isinstance(each, inspect.FloatType) for each in kinds)
    return not has_float and any(isinstance(each, inspect.IntType) for each in kinds)


def _sample(kind: inspect.Type) -> object:
    chosen = _chosen(kind)
    if isinstance(chosen, inspect.StructType):
        return {field.encode_name: _sample(field.type) for field in chosen.fields}
    if isinstance(chosen, inspect.ListType):
        return [_sample(chosen.item_type) for _ in range(chosen.min_length or 1)]
    if isinstance(chosen, inspect.LiteralType):
        return chosen.values[0]
    if isinstance(chosen, inspect.BoolType):
        return True
    if isinstance(chosen, inspect.IntType | inspect.FloatType):
        return _number(chosen)
    if isinstance(chosen, inspect.StrType):
        return _text(chosen)
    if isinstance(chosen, inspect.CustomType) and issubclass(chosen.cls, Phone):
        return "+237690123456"
    return {}


def _number(kind: inspect.IntType | inspect.FloatType) -> float:
    number = max(1, kind.ge or 0)
    return number if kind.le is None else min(number, kind.le)


def _text(kind: inspect.StrType) -> str:
    for text in (*TEXTS, "a" * (kind.min_length or 0)):
        try:
            return msgspec.convert(text, _annotated(kind))
        except msgspec.ValidationError:
            continue
    raise AssertionError(f"no text of the samples matches {kind}")


def _annotated(kind: inspect.StrType) -> Any:
    meta = msgspec.Meta(
        pattern=kind.pattern, min_length=kind.min_length, max_length=kind.max_length
    )
    return Annotated[str, meta]
