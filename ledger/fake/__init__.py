"""A small deterministic DynamoDB for tests and simulations; the product never imports it."""

from ledger.fake.faults import Fault, Faults, Pace
from ledger.fake.operations import FakeDynamo

__all__ = ["FakeDynamo", "Fault", "Faults", "Pace"]
