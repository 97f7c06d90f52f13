"""Logging: structured, with context. Owns how log lines look; must not know what they are about."""

import logging
import sys
from typing import Literal, cast

import structlog

Logger = structlog.stdlib.BoundLogger
"""What `get_logger` returns."""


def get_logger(name: str) -> Logger:
    """Return the logger of one part of the coordinator."""
    return cast("Logger", structlog.get_logger(f"coordinator.{name}"))


def configure_logging(level: str, form: Literal["auto", "console", "json"]) -> None:
    """Send log lines of `level` and above to standard error.

    Args:
        level: debug, info, warning or error.
        form: `console` for people, `json` for machines; `auto` takes `console` on a terminal.
    """
    as_console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor
    if as_console:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    else:
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for noisy in ("aiohttp.access", "engineio", "socketio", "pymongo", "asyncio"):
        logging.getLogger(noisy).setLevel(max(root.level, logging.WARNING))
