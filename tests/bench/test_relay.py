"""The figures of the bench of relayed fixes."""

from bench.relay import figures_of


def test_the_cheapest_round_of_each_server_counts():
    """Each server's cheapest round is taken; in an open loop the cost follows from CPU and rate."""
    rounds = [
        {
            "ours": {"us_per_relay": 40.0},
            "peer": {"us_per_relay": 100.0},
            "limit": {"cpu": 0.02, "relayed/s": 2_000.0},
        },
        {
            "ours": {"us_per_relay": 50.0},
            "peer": {"us_per_relay": 80.0},
            "limit": {"cpu": 0.04, "relayed/s": 2_000.0},
        },
    ]
    figures = figures_of(rounds)
    assert [figures[name]["cpu_us_per_fix"] for name in ("ours", "peer", "limit")] == [40, 80, 10]
    assert (figures["to_peer"], figures["to_limit"]) == (0.5, 4.0)
