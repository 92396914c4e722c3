"""Series can be read by whoever meets them, and never grow with the number of customers."""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest

from dispatch import metrics

# Each of these has a handful of values, all of them spelled in the source; a route is a template.
LABELS = {
    "at", "code", "invariant", "kind", "loop", "method", "name", "namespace", "outcome", "rate",
    "reason", "route", "service", "source", "status", "store", "to",
}  # fmt: skip
SERIES = [one for one in vars(metrics).values() if isinstance(one, Counter | Gauge | Histogram)]


def test_there_are_series():
    """The rules below look at every series that the server exports."""
    assert len(SERIES) > 20


def test_no_label_holds_an_id():
    """A label names a kind; a series per rider or order would fill any monitor."""
    assert {label for one in SERIES for label in one._labelnames} <= LABELS


def test_names_have_prefix_and_unit():
    """A name begins with the product's and ends with its unit; a counter's with `_total`."""
    names = {type(one): set[str]() for one in SERIES}
    for one in SERIES:
        names[type(one)].add(one._name)
    everything = set.union(*names.values())
    assert all(name.startswith("reeyo_") for name in everything)
    # The library takes `_total` off the name and puts it on every line.
    assert not any(name.endswith("_total") for name in everything)
    assert all(name.endswith(("_seconds", "_fixes")) for name in names[Histogram])


def test_a_scrape_shows_what_happened():
    """What is counted through an object is in the text that Prometheus reads."""
    before = REGISTRY.get_sample_value("reeyo_fixes_dropped_total", {"reason": "stale"}) or 0
    metrics.FIXES_DROPPED.labels("stale").inc()
    line = f'reeyo_fixes_dropped_total{{reason="stale"}} {before + 1}'
    assert line in generate_latest().decode()
