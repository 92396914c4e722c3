"""Reading metrics in tests."""

from prometheus_client import Counter, Gauge


def metric_value(series: Counter | Gauge) -> float:
    """The value of a counter or gauge without labels, or of one labelled child."""
    [metric] = series.collect()
    return metric.samples[0].value
