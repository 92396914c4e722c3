"""Fake DynamoDB in this process, deterministic, for tests and simulations only."""

from ledger.dynamodb.fake.faults import Fault, FaultInjector, Latencies
from ledger.dynamodb.fake.operations import FakeDynamo

__all__ = ["FakeDynamo", "Fault", "FaultInjector", "Latencies"]
