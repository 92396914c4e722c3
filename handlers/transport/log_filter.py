"""Keeps bytes that are no HTTP from filling the log and the memory; they are counted instead."""

import logging
from typing import Any

from aiohttp.http_exceptions import HttpProcessingError

from dispatch import metrics


class NonHttpLogFilter(logging.LoggerAdapter[logging.Logger]):
    """The framework's logger, without its complaints about bytes that are no HTTP.

    Source: measured, 1 KB a line, traceback and all; port scanners send little else.
    """

    def log(self, level: int, msg: object, *args: Any, **named: Any) -> None:
        """Let everything else through."""
        error = named.get("exc_info")
        if not isinstance(error, HttpProcessingError):
            super().log(level, msg, *args, **named)
            return
        metrics.HTTP_REQUESTS.labels("none", "any", str(error.code)).inc()
        # The framework's reader, in the traceback, holds the error: a ring with the connection in
        # it, that would wait for the collector. Source: measured, 70 of a thousand bad frames.
        error.__traceback__ = None


# What the framework is to complain to.
HTTP_SERVER_LOGGER = NonHttpLogFilter(logging.getLogger("aiohttp.server"))
