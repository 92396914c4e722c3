"""Tests of the simulation's event log."""

import json

from tests.simulation.event_log import EventLog
from tests.virtual_time import VirtualLoop


def test_a_field_may_be_named_like_a_parameter():
    """Fields of a server's log line are recorded under any name; actor and action stay.

    The gate logs an error with the name that `record` gave its first parameter, which raised a
    TypeError exactly when a server had logged an error.
    """
    loop = VirtualLoop()
    log = EventLog(loop.clock)
    fields = {"actor": "user:usr_1", "action": "x", "self": 1, "event": "e"}
    log.record("log", "error", **fields)
    loop.close()

    [record] = [json.loads(line) for line in log.to_json_lines().splitlines()]
    assert record == {"t": 0.0, "actor": "log", "action": "error", "self": 1, "event": "e"}
