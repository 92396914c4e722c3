"""A small deterministic DynamoDB for tests and simulations; the product never imports it."""

from ledger.dynamodb.fake.faults import Fault, FaultInjector, Latencies
from ledger.dynamodb.fake.operations import FakeDynamo

__all__ = ["FakeDynamo", "Fault", "FaultInjector", "Latencies"]
