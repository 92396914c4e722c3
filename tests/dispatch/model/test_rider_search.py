"""The rider search inside an order."""

import msgspec

from dispatch.ids import RiderId
from dispatch.model import Dispatch, DispatchState, OfferOutcome
from tests.factories import a_dispatch


def test_a_new_search_stores_two_fields():
    """State and start; everything else is the default until something happens."""
    stored = msgspec.to_builtins(Dispatch(state=DispatchState.SEARCHING, started_at_ms=1))
    assert stored == {"state": "SEARCHING", "startedAtMs": 1}


def test_past_offers_survive_storage():
    """Who was asked before, and how that ended, is what the next wave is chosen by."""
    search = a_dispatch(asked={"rdr_2": ("ofr_2", OfferOutcome.UNREAD)})
    read = msgspec.json.decode(msgspec.json.encode(search), type=Dispatch)
    assert read == search
    assert read.asked[RiderId("rdr_2")].outcome is OfferOutcome.UNREAD
