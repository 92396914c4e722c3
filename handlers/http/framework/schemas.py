"""JSON schemas and summaries that the OpenAPI and AsyncAPI documents share."""

from collections.abc import Sequence
from typing import Any

import msgspec

from dispatch.wire.phones import WRITTEN_CHARS_MAX, Phone

# A JSON document, or a part of one.
Document = dict[str, Any]

VERSION = "1.0"
TITLE = "Reeyo Dispatch"
SCHEMA_REF = "#/components/schemas/{name}"


def json_schemas(types: Sequence[type[msgspec.Struct]]) -> tuple[list[Document], Document]:
    """The schema of each type, in order, and the components that they refer to by name."""
    schemas, components = msgspec.json.schema_components(
        types, ref_template=SCHEMA_REF, schema_hook=_phone_schema
    )
    return list(schemas), components


def _phone_schema(kind: type[object]) -> Document:
    """The schema of a phone number as it may be written."""
    if issubclass(kind, Phone):
        return {"type": "string", "maxLength": WRITTEN_CHARS_MAX, "format": "phone"}
    raise NotImplementedError(kind)


def summary_of(documented: object) -> str:
    """The first line of a docstring."""
    return (documented.__doc__ or "").strip().partition("\n")[0]
