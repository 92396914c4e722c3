"""Logging: one JSON object a line, or coloured lines in a developer's terminal."""

import logging
import sys

import structlog

from dispatch.settings import Settings


def configure_logs(settings: Settings) -> None:
    """Set up logging for this process; of the libraries, warnings and errors are logged."""
    level = getattr(logging, settings.log_level.upper())
    readable = settings.dev and sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s %(message)s")
