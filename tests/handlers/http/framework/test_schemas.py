"""JSON schemas and summaries of the API documents."""

import msgspec

from handlers.http.framework.schemas import json_schemas, summary_of


class Inner(msgspec.Struct):
    """A part."""

    amount: int


class Outer(msgspec.Struct, rename="camel"):
    """A whole.

    With more words.
    """

    inner_part: Inner


def test_schemas_refer_to_components_by_name():
    """Each type gets a schema, in order, and the types inside it are components too."""
    schemas, components = json_schemas([Outer, Inner])
    assert [schema["$ref"] for schema in schemas] == [
        "#/components/schemas/Outer",
        "#/components/schemas/Inner",
    ]
    assert components["Outer"]["properties"] == {
        "innerPart": {"$ref": "#/components/schemas/Inner"}
    }
    assert components["Inner"]["properties"] == {"amount": {"type": "integer"}}


def test_a_summary_is_the_first_line_of_a_docstring():
    """What has no docstring has an empty summary."""
    assert summary_of(Outer) == "A whole."
    assert summary_of(lambda: None) == ""
