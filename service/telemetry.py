"""What the operator sees: counts and durations for Prometheus, one structured line per event.

No label and no line holds a meter point, a handle, a query, a value or a path of the machine. An
unforeseen error is named by its type and the place in the code that raised it, never by its text.
"""

from __future__ import annotations

import logging
import sys
from types import TracebackType

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from service.problems import Problem
from store.errors import MeterkeepError
from store.targets.timekeeping import Tally

Asked = tuple[str, str | None, int]  # variant, role, half-hours

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)  # seconds
_FAILED = 500  # and above: a fault of ours
_OUTCOMES = {200: "answered", 403: "refused", 410: "refused", 429: "refused"}
ASKED = "meterkeep.asked"  # where a request's scope tells what was asked
_DEPTH = 3  # frames named of an unforeseen error


def configure() -> None:
    """Send structured lines to stderr, one JSON object each; quiet what others would log."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


class Telemetry:
    """Counts and notes what one application does."""

    def __init__(self, tally: Tally | None = None) -> None:
        self._tally = tally
        self.registry = CollectorRegistry()
        self._log = structlog.get_logger("service")
        self._seconds = Histogram(
            "meterkeep_request_seconds",
            "Time from the first byte asked to the last byte handed to the server",
            ["route", "status"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._observed: dict[tuple[str, int], Histogram] = {}
        self._problems = Counter(
            "meterkeep_problems", "Problems answered", ["route", "code"], registry=self.registry
        )
        self._tampered = Counter(
            "meterkeep_tampered", "Rows, runs or keys that did not open", registry=self.registry
        )
        self._half_hours = Counter(
            "meterkeep_half_hours", "Half-hours answered", registry=self.registry
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one request; ``route`` is the template, never the path asked."""
        key = route, status  # as few as there are routes and statuses
        child = self._observed.get(key)
        if child is None:
            child = self._observed[key] = self._seconds.labels(route, str(status))
        child.observe(seconds)

    def timed(self, asked: Asked, status: int, seconds: float) -> None:
        """Count how long a question about reads took, for reports of response times.

        Args:
            asked: Variant, role and half-hours, as far as they are known.
            status: What was told, or 500 where it was not told whole. What is no question at all
                (401, 404, 406, 422) is not counted.
            seconds: From the first byte asked to the last byte handed to the server.
        """
        outcome = "failed" if status >= _FAILED else _OUTCOMES.get(status)
        if self._tally is not None and outcome is not None:
            self._tally.count(*asked, outcome, seconds)

    def released(self, half_hours: int) -> None:
        """Count half-hours that left."""
        self._half_hours.inc(half_hours)

    def failed(self, route: str, problem: Problem, error: BaseException) -> None:
        """Count a problem; note it, loudly where an operator must hear of it."""
        self._problems.labels(route, problem.code).inc()
        if not problem.alarm:
            return
        if problem.code == "tampered":
            self._tampered.inc()
        self._log.error(
            "alarm",
            route=route,
            status=problem.status,
            code=problem.code,
            error=type(error).__name__,
            what=str(error) if isinstance(error, MeterkeepError) else None,
            broken=getattr(error, "what", None),
            where=_where(error.__traceback__),
        )

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def _where(traceback: TracebackType | None) -> list[str]:
    places: list[str] = []
    while traceback is not None:
        module = traceback.tb_frame.f_globals.get("__name__", "?")
        places.append(f"{module}:{traceback.tb_lineno}")
        traceback = traceback.tb_next
    return places[-_DEPTH:]
