"""Log lines: readable on a terminal, JSON elsewhere; those of the libraries too."""

from __future__ import annotations

import logging
import sys

import structlog

_LIBRARIES = ("grpclib", "asyncio", "aiohttp")


def configure(level: str) -> None:
    """Lines go to standard error, from *level* on."""
    pretty = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.handlers = [LibraryLog()]


class LibraryLog(logging.Handler):
    """Says in our log what a library has to say; what a client alone can cause is no news."""

    def emit(self, record: logging.LogRecord) -> None:
        """Never what a request held: no header, no message."""
        log = structlog.get_logger(record.name)
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OSError):
            # A client that went away, or that does not speak TLS.
            log.debug("connection.failed", library=record.name, error=repr(error))
        else:
            log.error(
                "library.failed",
                library=record.name,
                error=repr(error) if error else record.getMessage(),
                exc_info=error,
            )
