"""Orders from placing to settlement, by the official JavaScript client."""

import pytest

from tests.e2e.local_server import LocalServer
from tests.e2e.node_script import run_script


@pytest.mark.slow
def test_orders_are_delivered_and_settled_end_to_end(server: LocalServer):
    """FOOD by wallet, MART by cash and PACKAGE by mobile money are delivered and settled."""
    output = run_script("order_lifecycle.mjs", server)

    assert "0 failed" in output
    assert "Traceback" not in server.log.read_text()


@pytest.mark.slow
def test_riders_are_asked_one_after_the_other(server: LocalServer):
    """Offers move on after silence, a decline, a dead client, a give-back; an operator assigns."""
    assert "0 failed" in run_script("offers.mjs", server)
