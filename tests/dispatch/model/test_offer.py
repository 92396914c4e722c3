"""Offers and the policy by which they are made."""

import msgspec

from dispatch.model import Offer, OfferPolicy
from tests.factories import an_offer


def test_an_offer_may_be_accepted_after_it_expires():
    """The deadline leaves time for the answer after the time that the rider is shown."""
    offer: Offer = an_offer()
    assert offer.made_at_ms < offer.expires_at_ms < offer.deadline_ms


def test_the_default_policy_is_consistent():
    """Every wave has a size and every size a radius; a pause outlasts an offer."""
    policy = OfferPolicy()
    assert list(policy.radii_km) == sorted(policy.radii_km)
    assert list(policy.wave_sizes) == sorted(policy.wave_sizes)
    assert policy.receipt_ms < policy.window_ms < policy.pause_ms
    assert policy.batch_below < policy.batch_above


def test_a_policy_is_stored_under_its_wire_names():
    """What operators read and write over HTTP is what is stored."""
    stored = msgspec.to_builtins(OfferPolicy(near_m=50))
    assert (stored["nearM"], stored["windowMs"]) == (50, 15_000)
    assert msgspec.convert(stored, OfferPolicy) == OfferPolicy(near_m=50)
