"""Metrics: names with prefix and unit, and labels that never hold an id."""

from contextlib import suppress

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest

from dispatch import metrics

# Each has a handful of values, all of them in the source; `route` is a template.
LABELS = {
    "at", "cause", "code", "invariant", "kind", "loop", "method", "name", "namespace", "outcome",
    "rate", "reason", "route", "service", "source", "status", "store", "to",
}  # fmt: skip
SERIES = [each for each in vars(metrics).values() if isinstance(each, Counter | Gauge | Histogram)]


def test_there_are_series():
    """The module has the series that the tests below check."""
    assert len(SERIES) > 20


def test_no_label_holds_an_id():
    """Every label is one of a fixed set of kinds; none grows with riders or orders."""
    assert {label for each in SERIES for label in label_names(each)} <= LABELS


def label_names(series: Counter | Gauge | Histogram) -> set[str]:
    """The label names of a series, read from the samples of a child made for the purpose."""
    for count in range(1, 4):
        values = ["-"] * count
        with suppress(ValueError):
            series.labels(*values)
            [metric] = series.collect()
            series.remove(*values)
            return {name for sample in metric.samples for name in sample.labels} - {"le"}
    return set()


def test_names_have_prefix_and_unit():
    """Names start with `reeyo_`; a counter's ends with `_total`, a histogram's with its unit."""
    names = {kind: set[str]() for kind in ("counter", "gauge", "histogram")}
    for metric in (metric for each in SERIES for metric in each.describe()):
        names[metric.type].add(metric.name)
    assert all(name.startswith("reeyo_") for name in set.union(*names.values()))
    assert all(name.endswith(("_seconds", "_fixes")) for name in names["histogram"])


def test_scrape_contains_counted_values():
    """A counted drop is in the text that Prometheus scrapes."""
    before = REGISTRY.get_sample_value("reeyo_fixes_dropped_total", {"reason": "stale"}) or 0
    metrics.FIXES_DROPPED.labels("stale").inc()
    line = f'reeyo_fixes_dropped_total{{reason="stale"}} {before + 1}'
    assert line in generate_latest().decode()
