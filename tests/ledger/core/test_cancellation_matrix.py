"""The cancellation matrix: who pays for what, by stage and fault."""

import pytest

from ledger.core.cancellation_matrix import MATRIX, Fault, Stage, split_cancellation
from tests.ledger.core.entry_samples import FOOD_PRICING


def test_the_matrix_has_every_cell() -> None:
    """Every stage has terms for every fault."""
    assert set(MATRIX) == set(Stage)
    assert all(set(row) == set(Fault) for row in MATRIX.values())


@pytest.mark.parametrize("stage", [Stage.PENDING, Stage.ACCEPTED])
@pytest.mark.parametrize("fault", Fault)
def test_an_early_cancellation_is_free(stage: Stage, fault: Fault) -> None:
    """Before the kitchen works the customer gets everything back and nobody is compensated."""
    split = split_cancellation(FOOD_PRICING, stage, fault, has_rider=True)
    assert (split.customer, split.compensation) == (FOOD_PRICING.total, 0)


def test_a_customer_at_fault_in_transit_pays_everything() -> None:
    """Vendor, rider and platform receive their whole shares, and the customer nothing."""
    split = split_cancellation(FOOD_PRICING, Stage.IN_TRANSIT, Fault.CUSTOMER, has_rider=True)
    shares = (FOOD_PRICING.vendor_share, FOOD_PRICING.rider_share, FOOD_PRICING.commission)
    assert (split.vendor, split.rider, split.platform) == shares
    assert split.customer == 0


def test_the_platform_pays_where_the_customer_is_not_at_fault() -> None:
    """The customer gets everything back, and the vendor is compensated."""
    split = split_cancellation(FOOD_PRICING, Stage.READY, Fault.PLATFORM, has_rider=True)
    assert (split.customer, split.is_customer_fault) == (FOOD_PRICING.total, False)
    assert split.vendor == FOOD_PRICING.vendor_share


def test_without_a_rider_the_riders_part_is_zero() -> None:
    """Terms for the rider apply only where one is assigned."""
    with_rider, without = (
        split_cancellation(FOOD_PRICING, Stage.READY, Fault.VENDOR, has_rider=has_rider)
        for has_rider in (True, False)
    )
    assert (with_rider.rider, without.rider) == (FOOD_PRICING.rider_share // 2, 0)
