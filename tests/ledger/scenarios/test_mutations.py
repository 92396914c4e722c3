"""The mutation run, in short: see tests.ledger.scenarios.mutations."""

import pytest

from ledger.dynamodb.table import Key, Put, Update
from tests.ledger.scenarios.mutations import all_mutants, caught_by
from tests.ledger.scenarios.weakened_conditions import mutants_of, weakened

CLAIM = Update(
    key=Key("RIDER#r", "DUTY"),
    expression="SET #o = :one",
    condition="attribute_not_exists(#o) AND (attribute_not_exists(cnt) OR cnt < :max)",
    names={"#o": "carries_ord_1"},
    values={":one": 1, ":max": 2},
)


def test_each_condition_is_taken_by_itself() -> None:
    """A part of an AND goes alone, with the names and values that only it used."""
    mutants = mutants_of(CLAIM)
    assert {mutant.taken: left for mutant, left in mutants.items()} == {
        "attribute_not_exists ( carries_* )": "( attribute_not_exists ( cnt ) OR cnt < :max )",
        "( attribute_not_exists ( cnt ) OR cnt < :max )": "attribute_not_exists ( #o )",
    }
    weak = [weakened(CLAIM, mutant) for mutant in mutants]
    assert [list(write.values) for write in weak] == [[":one", ":max"], [":one"]]


def test_a_choice_is_taken_as_a_whole_and_branch_by_branch() -> None:
    """What is joined by OR goes at once; inside a branch each condition of an AND goes alone."""
    put = Put(item={"PK": "A#1", "SK": "B"}, condition="a = :a OR (b = :b AND c = :c)")
    assert list(mutants_of(put).values()) == [
        None,
        "a = :a OR ( c = :c )",
        "a = :a OR ( b = :b )",
    ]


def test_other_writes_stay_as_they_are() -> None:
    """A mutant changes only the write that it is of."""
    (mutant, *_) = mutants_of(CLAIM)
    other = Put(item={"PK": "A#1", "SK": "B"}, condition="attribute_not_exists(PK)")
    assert weakened(other, mutant) is other


@pytest.mark.slow
def test_every_condition_is_missed_when_it_is_gone() -> None:
    """Each condition of each write of each flow, taken away, is noticed."""
    mutants = all_mutants()
    assert len(mutants) > 60
    assert [mutant for mutant in mutants if not caught_by(mutant)] == []
