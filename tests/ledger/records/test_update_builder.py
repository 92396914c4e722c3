"""Updates built from clauses."""

from ledger.dynamodb.table import Key, Update
from ledger.records.update_builder import UpdateBuilder

KEY = Key("P", "a")


def test_clauses_are_joined_in_their_order() -> None:
    """SET, REMOVE and condition have the clauses as they were added, with names and values."""
    update = UpdateBuilder(KEY)
    update.require("n >= :amount", amount=5)
    update.set("n = n - :amount")
    update.set("#status = :to", to="FROZEN")
    update.name("status")
    update.remove("GSI1PK", "GSI1SK")
    update.require("attribute_exists(PK)")
    assert update.build() == Update(
        key=KEY,
        expression="SET n = n - :amount, #status = :to REMOVE GSI1PK, GSI1SK",
        condition="n >= :amount AND attribute_exists(PK)",
        names={"#status": "status"},
        values={":amount": 5, ":to": "FROZEN"},
    )


def test_an_update_may_have_no_condition() -> None:
    """Without a required clause the condition is None."""
    update = UpdateBuilder(KEY)
    update.set("n = :one", one=1)
    assert update.build().condition is None
