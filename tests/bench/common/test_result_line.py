"""The result line of a bench."""

import json

import pytest

from bench.common.result_line import print_result


def test_a_result_is_one_json_line(capsys: pytest.CaptureFixture[str]):
    """The line has the bench, the commit, the machine, the parameters and the figures."""
    print_result("some", {"size": "smoke"}, {"p50_ms": 1.5})
    [line] = capsys.readouterr().out.splitlines()
    result = json.loads(line)
    assert list(result) == ["bench", "commit", "machine", "parameters", "figures"]
    assert (result["bench"], result["parameters"]) == ("some", {"size": "smoke"})
    assert result["figures"] == {"p50_ms": 1.5}
    assert "cores" in result["machine"]
