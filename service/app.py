"""The application put together: one store in, one FastAPI application out.

Layers, outermost first: the door (bounds, last resort, timing), FastAPI's routing and documents,
each route with its problems told. FastAPI reads no parameter and builds no model: see `routes`. The
address that is asked most goes past FastAPI: see `front`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service import (
    openapi,
    openapi_consents,
    openapi_exports,
    openapi_log,
    openapi_times,
    telemetry,
)
from service.arriving import Arriving
from service.changing import Changing
from service.consents import Consents
from service.desk import Desk, NotedRefusalError
from service.door import Door
from service.entries import LogEntries
from service.exporter import Exporter
from service.exports import Exports
from service.front import Front, Handler, directly
from service.gate import Gate
from service.limits import LimitedError, Limits
from service.logbook import Logbook
from service.oauth import OAuth
from service.others import load
from service.problems import MEDIA_TYPE, Problem, problem_of, problem_of_status
from service.routes import Reads
from service.signing import Signing
from service.standing import STANDING, tell
from service.strikes import Strikes
from service.telemetry import METRICS_TYPE, Telemetry
from service.times import Times
from service.witnessing import asking
from store.policy import in_force, limit_rules, response_rules
from store.settings import Settings
from store.targets.timekeeping import Timekeeping
from store.wiring import open_store

if TYPE_CHECKING:
    from store.log.pace import Pace
    from store.parts import Store
    from store.ports import Clock

_JSON = "application/json"
_HEALTH = {"/readyz": {"responses": openapi.problems(503)}}
_READS = "/v1/meter-points/{meter_point}/reads"


class Bare(APIRoute):
    """A route whose endpoint takes the request as it came; nothing is resolved on the way."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Return the endpoint itself."""
        return self.endpoint


def create_app(
    store: Store, *, closing: ExitStack | None = None, exporter: Exporter | None = None
) -> FastAPI:
    """Return the application that serves ``store``.

    Args:
        store: Open, with its keys.
        closing: Closed when the application shuts down.
        exporter: Hears of each export that is ordered; None where another process looks for them.
    """
    times = timekeeping(store)
    watch, desk = Telemetry(times.tally), Desk(store)
    settings, signing = store.settings, Signing(store)
    arriving = Arriving(settings.public_url, settings.proxies)
    others = load(settings.issuers, store.clock, signing.url)
    limits, strikes = counting(store)
    guard = Gate({signing.url: signing, **others}, limits)
    reads = Reads(store, desk, guard, arriving, watch, limits)
    consents = Consents(store, desk, guard, arriving)
    wake = {} if exporter is None else {"wake": exporter.wake}
    exports = Exports(store, desk, guard, arriving, **wake)
    rooms = store, desk, guard, arriving
    log, logbook, promised = LogEntries(*rooms), Logbook(*rooms), Times(*rooms)
    oauth = OAuth(signing, desk, arriving, store.clock, strikes)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        with closing or ExitStack(), keeping_up(store, watch, limits, times):
            yield

    app = Front(
        title="Meterkeep",
        version="1",
        description=openapi.DESCRIPTION,
        docs_url=None,  # they would load scripts from somebody else's server
        redoc_url=None,
        redirect_slashes=False,  # it would send callers where ``Host`` says
        lifespan=lifespan,
        exception_handlers={HTTPException: _bare_status, RequestValidationError: _bare_status},
    )
    app.router.route_class = Bare

    def add(method: str, path: str, handler: Handler, said: dict[str, Any], name: str = "") -> None:
        asked = kept_up(handler, store.pace) if "security" in said else handler
        app.router.add_api_route(
            path,
            told(asked, path, watch, store.clock),
            methods=[method],
            name=name or handler.__name__,
            operation_id=name or handler.__name__,
            summary=(handler.__doc__ or "").split("\n", maxsplit=1)[0],
            description=" ",
            openapi_extra=said,
            response_model=None,
        )

    locked: dict[str, Any] = {"security": [{"dpop": []}]}
    # The address asked most stands first: routes are tried in order, this one by a short way.
    add("GET", _READS, reads.reads, openapi.READS | locked)
    add("GET", "/v1/meter-points/{meter_point}/coverage", reads.coverage, openapi.COVERAGE | locked)
    add(
        "GET",
        "/v1/meter-points/{meter_point}/changes",
        Changing(*rooms).changes,
        openapi.CHANGES | locked,
    )
    add("POST", "/v1/meter-points/lookup", reads.lookup, openapi.LOOKUP | locked)
    add("POST", "/v1/decisions", reads.decisions, openapi.DECISIONS | locked)
    add("POST", "/v1/consents", consents.request_consent, openapi_consents.REQUEST | locked)
    add("GET", "/v1/consents/{consent}", consents.consent, openapi_consents.SEE | locked)
    for verb, handler in consents.steps().items():
        said = openapi_consents.STEPS[verb]
        add("POST", f"/v1/consents/{{consent}}/{verb}", handler, said | locked)
    add("POST", "/v1/exports", exports.order_export, openapi_exports.ORDER | locked)
    add("GET", "/v1/exports/keys", exports.export_keys, openapi_exports.KEYS)
    add("POST", "/v1/exports/{export}/cancel", exports.cancel_export,
        openapi_exports.CANCEL | locked)  # fmt: skip
    looks = {  # by GET, of whoever is known
        "/v1/exports/{export}": (exports.export, openapi_exports.SEE),
        "/v1/exports/{export}/manifest": (exports.export_manifest, openapi_exports.MANIFEST),
        "/v1/exports/{export}/parts/{part}": (exports.export_part, openapi_exports.PART),
        "/v1/response-times": (promised.response_times, openapi_times.CATALOGUES),
        "/v1/response-times/estimate": (promised.response_time_estimate, openapi_times.ESTIMATE),
        "/v1/response-times/report": (promised.response_time_report, openapi_times.REPORT),
        "/v1/log/entries": (log.entries, openapi_log.ENTRIES),
    }
    for path, (handler, said) in looks.items():
        add("GET", path, handler, said | locked)
    for name, path, handler, said in logbook.addresses():
        add("GET", path, handler, said | (locked if "401" in said["responses"] else {}), name)
    add("POST", "/oauth2/token", oauth.token, openapi.TOKEN)
    add("POST", "/oauth2/revoke", oauth.revoke, openapi.REVOKE)
    add("GET", "/oauth2/jwks", oauth.jwks, {})
    add("GET", "/.well-known/oauth-authorization-server", oauth.metadata, {})
    health = {"/healthz": _alive, "/readyz": _ready(desk), "/metrics": _metrics(watch)}
    for path, handler in health.items():
        add("GET", path, handler, _HEALTH.get(path, {}))
    _document(app)
    app.add_middleware(Door, telemetry=watch)
    asked = next(r for r in app.routes if isinstance(r, Bare) and r.path == _READS)
    short = told(kept_up(reads.reads, store.pace), _READS, watch, store.clock)
    app.shorten(asked, Door(directly(short), watch))
    return app


def counting(store: Store) -> tuple[Limits, Strikes]:
    """Return what counts what clients ask, and what counts those who prove nothing."""
    rules = limit_rules.load(store.settings.policies)
    limits = Limits(rules, store.database, store.log, store.clock, store.policy.digest)
    return limits, Strikes(rules.failures, rules.forgiven)


def timekeeping(store: Store) -> Timekeeping:
    """Return what counts how long requests took."""
    measure = response_rules.load(store.settings.policies).measure
    return Timekeeping(store.database, store.clock, store.policy, measure)


@contextmanager
def keeping_up(
    store: Store, watch: Telemetry, limits: Limits, times: Timekeeping
) -> Iterator[None]:
    """Note which policies decide from now on, and keep the log's tree up meanwhile."""
    in_force.note(store.database, store.log, store.clock, store.policy.digest)

    def failed(error: BaseException) -> None:
        watch.failed("log", problem_of(error), error)

    store.pace.beside = times.keep
    store.pace.start(failed)
    try:
        yield
    finally:
        limits.refusals.tell_all()
        store.pace.stop()
        times.close()


def from_environment() -> FastAPI:
    """Return the application of the environment's store: what each worker process runs."""
    telemetry.configure()
    with ExitStack() as closing:
        settings = Settings.from_environment()
        witnesses = closing.enter_context(asking(settings))
        store = closing.enter_context(open_store(settings, witnesses=witnesses))
        exporter = closing.enter_context(Exporter(store))
        return create_app(store, closing=closing.pop_all(), exporter=exporter)


def told(handler: Handler, path: str, watch: Telemetry, clock: Clock) -> Handler:
    """Return ``handler`` with every error told as its problem, and where its client stands."""

    async def telling(request: Request) -> Response:
        STANDING.set(None)  # nobody is known yet
        try:
            response = await handler(request)
        except Exception as error:  # noqa: BLE001 - what nobody foresaw is a problem too
            problem = problem_of(error)
            watch.failed(path, problem, error)
            noted = error.headers if isinstance(error, NotedRefusalError | LimitedError) else {}
            response = respond(problem, noted)
        tell(response, clock)
        return response

    return telling


def respond(problem: Problem, noted: Mapping[str, str] | None = None) -> Response:
    """Return the response that tells ``problem``; ``noted`` tells of its log entry, if any."""
    headers = {**problem.headers(), **(noted or {})}
    return Response(problem.body(), problem.status, headers, MEDIA_TYPE)


def kept_up(handler: Handler, pace: Pace) -> Handler:
    """Return ``handler``, asked only while the access log is kept up."""

    async def asking(request: Request) -> Response:
        pace.check()
        return await handler(request)

    return asking


async def _bare_status(_request: Request, error: Exception) -> Response:
    return respond(problem_of_status(getattr(error, "status_code", 422)))


async def _alive(_request: Request) -> Response:
    """Say that the process runs."""
    return Response(b'{"status":"alive"}', media_type=_JSON)


def _ready(desk: Desk) -> Handler:
    async def readiness(_request: Request) -> Response:
        """Say whether answers can be given: the catalogue can be read."""
        await desk.ready()
        return Response(b'{"status":"ready"}', media_type=_JSON)

    return readiness


def _metrics(watch: Telemetry) -> Handler:
    async def metrics(_request: Request) -> Response:
        """Show counts and durations for Prometheus; this worker's own."""
        return Response(watch.exposition(), media_type=METRICS_TYPE)

    return metrics


def _document(app: FastAPI) -> None:
    """Let /openapi.json name the way to authenticate."""
    document = app.openapi()
    document.setdefault("components", {})["securitySchemes"] = openapi.SECURITY_SCHEME
