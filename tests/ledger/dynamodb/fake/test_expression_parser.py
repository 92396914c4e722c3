"""The parser of DynamoDB expressions."""

import pytest

from ledger.dynamodb.fake.errors import InvalidRequest
from ledger.dynamodb.fake.expression_parser import ExpressionContext, ExpressionParser

CONTEXT = ExpressionContext(
    image={"n": {"N": "5"}, "map": {"M": {"deep": {"S": "x"}}}},
    names={"#map": "map"},
    values={":five": {"N": "5"}, ":six": {"N": "6"}},
)


def parse_whole(text: str) -> None:
    parser = ExpressionParser(text)
    parser.parse_disjunction()
    parser.expect_end()


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("n = :five", True),
        ("n = :six OR n = :five AND n < :six", True),
        ("(n = :six OR n = :five) AND n > :six", False),
        ("NOT n = :six", True),
        ("attribute_exists(#map.deep)", True),
        ("attribute_not_exists(#map.deep)", False),
        ("n BETWEEN :five AND :six", True),
        ("n IN (:six)", False),
    ],
)
def test_a_condition_is_parsed_by_precedence(text: str, holds: bool) -> None:
    """NOT binds before AND, AND before OR; parentheses group."""
    parser = ExpressionParser(text)
    test = parser.parse_disjunction()
    assert parser.is_at_end()
    assert test(CONTEXT) is holds


def test_placeholders_and_paths_are_collected() -> None:
    """The parser records which names, values and paths an expression uses."""
    parser = ExpressionParser("#map.deep = :five AND n = n")
    parser.parse_disjunction()
    assert parser.placeholders == {"#map", ":five"}
    assert parser.paths == {("#map", "deep"), ("n",)}


@pytest.mark.parametrize("text", ["n =", "n = :five)", "(n = :five", "n ! :five", "n[0] = :five"])
def test_a_malformed_expression_is_refused(text: str) -> None:
    """Missing operands, parentheses and unknown signs raise."""
    with pytest.raises(InvalidRequest, match="Syntax error"):
        parse_whole(text)


def test_a_too_long_expression_is_refused() -> None:
    """An expression has at most 4 KB."""
    with pytest.raises(InvalidRequest, match="size"):
        ExpressionParser("n" * 4097)
