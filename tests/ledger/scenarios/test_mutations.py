"""Mutations, in short; see tests.ledger.scenarios.mutations."""

import pytest

from ledger.dynamodb.table import Key, Put, Update
from tests.ledger.scenarios.mutations import all_mutants, find_failing_check
from tests.ledger.scenarios.weakened_conditions import mutants_of, weaken

CLAIM = Update(
    key=Key("RIDER#r", "WORKLOAD"),
    expression="SET #o = :one",
    condition="attribute_not_exists(#o) AND (attribute_not_exists(load) OR load < :max)",
    names={"#o": "carries_ord_1"},
    values={":one": 1, ":max": 2},
)


def test_each_condition_is_removed_on_its_own() -> None:
    """Each part of a conjunction is removed alone, with the names and values only it used."""
    mutants = mutants_of(CLAIM)
    assert {mutant.removed: left for mutant, left in mutants.items()} == {
        "attribute_not_exists ( carries_* )": "( attribute_not_exists ( load ) OR load < :max )",
        "( attribute_not_exists ( load ) OR load < :max )": "attribute_not_exists ( #o )",
    }
    weak = [weaken(CLAIM, mutant) for mutant in mutants]
    assert [list(write.values) for write in weak] == [[":one", ":max"], [":one"]]


def test_an_or_is_removed_whole_and_branch_by_branch() -> None:
    """A disjunction is removed whole, and each condition of a branch alone."""
    put = Put(item={"PK": "A#1", "SK": "B"}, condition="a = :a OR (b = :b AND c = :c)")
    assert list(mutants_of(put).values()) == [
        None,
        "a = :a OR ( c = :c )",
        "a = :a OR ( b = :b )",
    ]


def test_other_writes_are_unchanged() -> None:
    """A mutant changes no other write than its own."""
    (mutant, *_) = mutants_of(CLAIM)
    other = Put(item={"PK": "A#1", "SK": "B"}, condition="attribute_not_exists(PK)")
    assert weaken(other, mutant) is other


@pytest.mark.slow
def test_every_removed_condition_fails_a_test() -> None:
    """Every condition of every write of every flow, removed, fails a test."""
    mutants = all_mutants()
    assert len(mutants) > 60
    assert [mutant for mutant in mutants if not find_failing_check(mutant)] == []
