"""What is acknowledged is kept: every field is found again in a record, or declared."""

import msgspec
import pytest

from dispatch.wire import commands
from tests.handlers.field_scenarios import SCENARIOS
from tests.handlers.http_api import ApiClient
from tests.handlers.kept_fields import Stored, distinctive_body, lost_fields, stored_values
from tests.waiting import Until
from tests.wire_samples import command_structs, request_structs

pytestmark = [pytest.mark.engines, pytest.mark.dynamodb_engine]

STRUCTS = [*command_structs(), *request_structs()]
_SETS = {"commandId": "the command sets what it says, so a repeat changes nothing"}
_READS = {"commandId": "the command lasts as long as its socket, so there is nothing to repeat"}
_EVENT = {
    "type": "kept as the state of the payment or payout",
    "data.amount": "compared with what was requested",
    "data.currency": "compared with the one currency",
}
_HASHED = "only its hash is kept"
# Fields that are declared not to be kept as they are sent, each with its reason.
NOT_KEPT: dict[str, dict[str, str]] = {
    "SubscribeOrder": _READS,
    "UnsubscribeOrder": _READS,
    "WatchArea": {
        **_READS,
        **{f"bbox.{edge}": "a viewport" for edge in ("south", "west", "north", "east")},
    },
    "UnwatchArea": _READS,
    "SetOnline": _SETS,
    "SetAvailability": _SETS,
    "LocationBatch": {**_SETS, "fixes": "decoded one by one, as in `Fix`"},
    "Registration": {"password": _HASHED},
    "Credentials": {"password": _HASHED},
    "RefreshRequest": {"refreshToken": _HASHED},
    "CodeVerification": {
        "challengeId": "says that the caller asked for the code",
        "code": _HASHED,
        "password": _HASHED,
    },
    "ShortageBody": {"charge": "kept as the account that is charged"},
    "PaymentEvent": _EVENT,
    "PayoutEvent": {**_EVENT, "data.fee": "of a payout that was paid; this one failed"},
}


def test_every_command_and_body_has_a_scenario():
    """A new one needs a scenario in field_scenarios.py; none is left of one that is gone."""
    assert set(SCENARIOS) == set(STRUCTS)


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda each: each.__name__)
async def test_every_field_is_kept_or_declared(
    api: ApiClient, until: Until, struct: type[msgspec.Struct]
):
    """A field's value is in a stored record afterwards, or the field is declared with a reason."""
    scenario = SCENARIOS[struct]
    async with until.running(api.background.pubsub.run):
        given = await scenario.prepare(api)
        body = distinctive_body(struct, dict(given))
        before = await stored_values(api)
        await scenario.send(api, body, given)
        lost = lost_fields(struct, body, before, await stored_values(api))

    assert sorted(lost) == sorted(NOT_KEPT.get(struct.__name__, {}))


@pytest.mark.parametrize(
    ("stored", "lost"),
    [
        ([("rating", 4), ("ratingComment", "kept 1")], set[str]()),
        ([("rating", 4)], {"comment"}),
        # The number of another field, and a part of another text.
        ([("version", 4), ("ratingComment", "kept 12")], {"rating", "comment"}),
    ],
)
def test_a_value_that_is_not_stored_is_lost(stored: list[tuple[str, object]], lost: set[str]):
    """A field is found by its own value alone, and in what was not there before."""
    body = distinctive_body(commands.RateOrder, {"orderId": "ord_kept", "commandId": None})
    after = {Stored("ORDER#ord_kept", name, value) for name, value in stored}

    assert body["rating"] == 4
    assert lost_fields(commands.RateOrder, body, set(), after) - {"commandId"} == lost
    assert lost_fields(commands.RateOrder, body, after, after) >= {"rating", "comment"}
