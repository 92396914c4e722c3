"""Keeps bytes that are no HTTP from filling the log; they are counted instead."""

import logging

from aiohttp.http_exceptions import HttpProcessingError

from dispatch import metrics


class NoHttp(logging.Filter):
    """Takes the framework's complaints about bytes that are no HTTP, traceback and all.

    Source: measured, 1 KB a line; port scanners send little else.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything else through."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        metrics.HTTP_REQUESTS.labels("none", "any", str(error.code)).inc()
        return False


_NO_HTTP = NoHttp()


def count_no_http() -> None:
    """Count what is no HTTP instead of logging it; once for the process, harmless twice."""
    logging.getLogger("aiohttp.server").addFilter(_NO_HTTP)
