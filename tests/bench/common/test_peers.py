"""What the load is given, and what it prints."""

import jwt

from bench.common.peers import parse_load_output, token_lines
from city.client.tokens import TokenSigner

SECRET = "s" * 32


def test_each_pair_has_a_line_of_tokens():
    """A line has the rider's token, the watcher's token and their order."""
    signer = TokenSigner(SECRET, lambda: 4_000_000_000_000)
    lines = token_lines(signer, 2).splitlines()
    assert len(lines) == 2
    rider, watcher, order = lines[1].split()
    decoded = [jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_iat": False})
               for token in (rider, watcher)]  # fmt: skip
    assert [(each["userType"], each["userId"]) for each in decoded] == [
        ("RIDER", "rdr_1"),
        ("USER", "usr_1"),
    ]
    assert order == "ord_1"


def test_the_loads_output_is_parsed():
    """`name=value` words become figures, with or without a unit; other words are ignored."""
    text = "done: pairs=500 cpu=0.25 p99=3.5ms relayed/s=1200 errs=0\n"
    assert parse_load_output(text) == {
        "pairs": 500.0, "cpu": 0.25, "p99": 3.5, "relayed/s": 1200.0, "errs": 0.0,
    }  # fmt: skip
