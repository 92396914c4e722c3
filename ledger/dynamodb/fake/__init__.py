"""A small deterministic DynamoDB for tests and simulations; the product never imports it."""

from ledger.dynamodb.fake.faults import Fault, Faults, Pace
from ledger.dynamodb.fake.operations import FakeDynamo

__all__ = ["FakeDynamo", "Fault", "Faults", "Pace"]
