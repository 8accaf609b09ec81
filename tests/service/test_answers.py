"""Real answers of a real store over HTTP: what is told, what is refused, what is written first."""

from __future__ import annotations

import io
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from store import tables
from store.errors import CatalogueError, KekError, ObjectError, TamperedError
from store.facts.door import Supply
from store.reads import Mpxn, Window

Calling = Callable[[Callable[[Any], Coroutine[Any, Any, None]]], None]
HOME, OTHER = Mpxn.parse("1200000000020"), Mpxn.parse("1800021679848")
UNKNOWN = Mpxn.parse("1200000000002")
ENERGY = 54_321


def leaf(world: Any, entry: str) -> dict[str, Any]:
    t = tables.leaves
    with world.store.database.read() as connection:
        body = connection.execute(
            select(t.c.leaf).where(t.c.entry == bytes.fromhex(entry))
        ).scalar()
    assert body is not None, "there is no such leaf"
    return dict(orjson.loads(body[1:]))


def code(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["status"] == answer.status_code
    return answer.status_code, answer.json()["code"]


def test_a_consented_reader_gets_every_half_hour_and_the_gap_as_null(
    calling: Calling, world: Any
) -> None:
    async def body(caller: Any) -> None:
        answer = await caller.reads("reader")
        assert answer.status_code == 200, answer.text
        told = answer.json()
        (series,) = [s for s in told["series"] if s["register"] == "active_import"]
        assert len(series["values"]) == 28 * 48
        gone = [n for n, value in enumerate(series["values"]) if value is None]
        assert gone == [9 * 48 + 10, 9 * 48 + 11]
        assert set(series["values"]) == {ENERGY, None}
        assert series["coverage"]["missing"] == [["2025-02-10T05:00:00Z", "2025-02-10T06:00:00Z"]]
        assert series["estimated"] == [["2025-02-11T02:30:00Z", "2025-02-11T03:00:00Z"]]
        assert told["withheld"] == []
        assert answer.headers["meterkeep-commit"] == str(told["commit"])
        assert answer.headers["cache-control"] == "no-store"
        written = leaf(world, answer.headers["meterkeep-log-entry"])
        assert (written["kind"], written["decision"]) == ("intent", "allow")
        assert written["party"] == world.parties["reader"].code

    calling(body)


def test_every_shape_holds_the_same_reads(calling: Calling) -> None:
    async def body(caller: Any) -> None:
        csv = await caller.reads("reader", accept="text/csv", register="active_import")
        arrow = await caller.reads(
            "reader", accept="application/vnd.apache.arrow.stream", register="active_import"
        )
        parquet = await caller.reads(
            "reader", accept="application/vnd.apache.parquet;q=1, text/csv;q=0.5",
            register="active_import",
        )  # fmt: skip
        assert csv.headers["content-type"].startswith("text/csv")
        assert csv.text.splitlines()[1] == (
            "active_import,2025-02-01T00:00:00Z,2025-02-01T00:30:00Z,54321,Wh,measured"
        )
        one = pa.ipc.open_stream(arrow.content).read_all()
        two = pq.read_table(io.BytesIO(parquet.content))
        assert one.to_pylist() == two.to_pylist()
        assert one.num_rows == 28 * 48 == len(csv.text.splitlines()) - 1

    calling(body)


def test_days_and_months_are_local_and_counted(calling: Calling) -> None:
    async def body(caller: Any) -> None:
        window = {"from_": "2025-03-01T00:00:00Z", "to": "2025-03-31T23:00:00Z"}
        days = (await caller.reads("reader", granularity="P1D", **window)).json()["series"][0]
        assert days["expected"][28:31] == [48, 46, 48]
        month = (await caller.reads("reader", granularity="P1M", **window)).json()["series"][0]
        assert month["expected"] == [31 * 48 - 2]
        assert month["values"] == [(31 * 48 - 2) * ENERGY]

    calling(body)


@pytest.mark.parametrize("mpxn", [OTHER, UNKNOWN], ids=["somebody else's", "unknown"])
def test_unknown_and_foreign_meter_points_are_refused_alike(
    calling: Calling, world: Any, mpxn: Mpxn
) -> None:
    async def body(caller: Any) -> None:
        answer = await caller.reads("stranger", mpxn)
        assert code(answer) == (403, "consent_missing")
        written = leaf(world, answer.headers["meterkeep-log-entry"])
        assert (written["kind"], written["decision"]) == ("denied", "consent_missing")
        assert code(await caller.reads("supplier", mpxn)) == (403, "not_registered")

    calling(body)


def test_the_previous_occupants_time_is_refused_or_withheld(calling: Calling) -> None:
    async def body(caller: Any) -> None:
        before = {"from_": "2025-01-15T00:00:00Z", "to": "2025-02-02T00:00:00Z"}
        assert code(await caller.reads("reader", **before)) == (403, "before_move_in")
        answer = await caller.reads("reader", partial="true", **before)
        told = answer.json()
        assert told["withheld"] == [
            {"from": "2025-01-15T00:00:00Z", "to": "2025-02-01T00:00:00Z", "code": "before_move_in"}
        ]
        assert answer.headers["meterkeep-withheld"] == (
            "2025-01-15T00:00:00Z/2025-02-01T00:00:00Z;before_move_in"
        )
        series = told["series"][0]
        assert series["from"] == "2025-02-01T00:00:00Z"
        assert series["coverage"] == {"expected": 48, "present": 48, "missing": []}

    calling(body)


def test_withdrawal_holds_on_the_next_request(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        assert (await caller.reads("reader")).status_code == 200
        world.store.facts.withdraw_consent(world.store.facts.consents()[0].id)
        assert code(await caller.reads("reader")) == (403, "consent_withdrawn")

    calling(body)


def test_an_erased_customer_is_gone(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        world.store.facts.erase([HOME], "the customer asked")
        assert code(await caller.reads("reader")) == (410, "erased")

    calling(body)


def test_coverage_tells_gaps_and_no_value(calling: Calling) -> None:
    async def body(caller: Any) -> None:
        answer = await caller.reads("reader", what="coverage")
        (series,) = [s for s in answer.json()["series"] if s["register"] == "active_import"]
        assert series["coverage"]["present"] == 28 * 48 - 2
        assert str(ENERGY) not in answer.text
        assert answer.headers["meterkeep-log-entry"]

    calling(body)


def test_a_decision_is_told_without_data(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        headers = await caller.headers("reader")
        question = {
            "meter_point": await caller.handle("reader"),
            "srv": "4.8.1",
            "from": "2025-02-01T00:00:00Z",
            "to": "2025-03-01T00:00:00Z",
        }
        yes = await caller.http.post("/v1/decisions", json=question, headers=headers)
        assert yes.json()["allowed"] is True
        assert yes.json()["parts"][0]["basis"] == "consent"
        assert leaf(world, yes.headers["meterkeep-log-entry"])["decision"] == "allow"
        early = question | {"from": "2025-01-01T00:00:00Z"}
        no = await caller.http.post("/v1/decisions", json=early, headers=headers)
        assert (no.status_code, no.json()["allowed"], no.json()["code"]) == (
            200,
            False,
            "before_move_in",
        )
        assert leaf(world, no.headers["meterkeep-log-entry"])["kind"] == "denied"
        assert str(ENERGY) not in yes.text + no.text
        assert yes.headers["cache-control"] == no.headers["cache-control"] == "no-store"

    calling(body)


def test_a_handle_is_each_partys_own(calling: Calling) -> None:
    async def body(caller: Any) -> None:
        mine, theirs = await caller.handle("reader"), await caller.handle("stranger")
        assert mine != theirs
        headers = await caller.headers("reader")
        asked = "srv=4.8.1&from=2025-02-01T00:00:00Z&to=2025-03-01T00:00:00Z"
        for handle in (theirs, "mp_", "mp_AAAA", "1200000000020", "x" * 1_000, "mp_%C3%A9", "%00"):
            answer = await caller.http.get(
                f"/v1/meter-points/{handle}/reads?{asked}", headers=headers
            )
            assert code(answer) == (404, "unknown_meter_point"), handle

    calling(body)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"sampled": "weekly"}, "unknown_parameter"),
        ({"sample": "1"}, "bad_sample"),
        ({"sample": "annual:53"}, "bad_sample"),
        ({"sample": ""}, "bad_sample"),
        ({"sample": ["weekly", "annual:1"]}, "repeated_parameter"),
        ({"sample": "weekly", "granularity": "P1M"}, "sample_of_months"),
        ({"sample": "weekly", "granularity": "P1D", "tz": "Europe/Paris"}, "bad_tz"),
        ({"sample": "weekly", "what": "coverage"}, "unknown_parameter"),
        ({"Partial": "true"}, "unknown_parameter"),
        ({"srv": "9.9"}, "unknown_srv"),
        ({"srv": "6.14.1"}, "not_a_data_srv"),
        ({"srv": "4.6.1"}, None),
        ({"srv": ["4.8.1", "4.8.1"]}, "repeated_parameter"),
        ({"srv": ""}, "missing_parameter"),
        ({"from_": "2025-02-01"}, "bad_time"),
        ({"from_": "2025-02-01T00:00:00"}, "bad_time"),
        ({"from_": "2025-02-01T00:10:00Z"}, "bad_time"),
        ({"from_": "2025-02-31T00:00:00Z"}, "bad_time"),
        ({"from_": "2025-02-01T25:00:00Z"}, "bad_time"),
        ({"from_": "2026-02-01T00:00:00Z"}, "empty_window"),
        ({"from_": "2001-02-01T00:00:00Z"}, "window_too_long"),
        ({"granularity": "PT5M"}, "bad_granularity"),
        ({"tz": "Mars/Olympus"}, "bad_tz"),
        ({"granularity": "P1D", "tz": "Asia/Kathmandu"}, "bad_time"),
        ({"register": "heat"}, "bad_register"),
        ({"register": "active_export"}, "bad_register"),
        ({"register": ["active_import"] * 13}, "bad_register"),
        ({"partial": "yes"}, "bad_partial"),
        ({"as_of": "yesterday"}, "bad_time"),
        ({"as_of": "99999"}, "unknown_commit"),
        ({"role": "x" * 99}, "bad_role"),
    ],
    ids=str,
)
def test_what_cannot_be_answered_is_422_with_its_code(
    calling: Calling, query: dict[str, Any], expected: str | None
) -> None:
    async def body(caller: Any) -> None:
        answer = await caller.reads("reader", **query)
        if expected is None:
            assert code(answer)[0] in (403, 422)
        else:
            assert code(answer) == (422, expected)

    calling(body)


@pytest.mark.parametrize(
    "raw", ["a", "=%", "&".join(["srv=1"] * 99), "srv=%ff", "a=" + "b" * 9_000]
)
def test_a_malformed_query_is_422(calling: Calling, raw: str) -> None:
    async def body(caller: Any) -> None:
        headers, handle = await caller.headers("reader"), await caller.handle("reader")
        answer = await caller.http.get(f"/v1/meter-points/{handle}/reads?{raw}", headers=headers)
        assert answer.status_code == 422

    calling(body)


def test_totals_are_no_way_round_a_monthly_permission(calling: Calling, world: Any) -> None:
    """A supplier may have months without consent, not the half-hour between two odd windows."""

    async def body(caller: Any) -> None:
        code_ = world.parties["supplier"].code
        window = Window(0, 1 << 30)
        world.store.facts.add_registrations([Supply(HOME, code_, "IS", "domestic", window)])
        month = {"from_": "2025-03-01T00:00:00Z", "to": "2025-03-31T23:00:00Z"}
        allowed = await caller.reads("supplier", granularity="P1M", **month)
        assert allowed.status_code == 200, allowed.text
        for odd in (
            {"granularity": "P1M", "from_": "2025-03-01T00:30:00Z"},
            {"granularity": "P1M", "to": "2025-03-30T00:00:00Z"},
            {"granularity": "P1M", "tz": "UTC", "to": "2025-04-01T00:00:00Z"},
            {"granularity": "P1D"},
            {"granularity": "PT30M"},
        ):
            answer = await caller.reads("supplier", **(month | odd))
            assert code(answer) == (403, "granularity_not_consented"), odd

    calling(body)


def test_without_a_good_token_nothing_is_answered(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        path = f"/v1/meter-points/{await caller.handle('reader')}/reads?srv=4.8.1"
        answer = await caller.http.get(path)
        assert code(answer) == (401, "token_missing")
        assert answer.headers["www-authenticate"] == 'DPoP algs="ES256 EdDSA Ed25519 PS256"'
        forged = {"authorization": "DPoP a.b.c"}
        assert code(await caller.http.get(path, headers=forged)) == (401, "invalid_token")
        token = await caller.headers("reader")
        world.clock.at += 301
        assert code(await caller.http.get(path, headers=token)) == (401, "invalid_token")

    calling(body)


def test_an_assertion_counts_once(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        form = world.form("reader")
        first = await caller.http.post("/oauth2/token", data=form)
        assert (first.status_code, first.json()["token_type"]) == (200, "DPoP")
        again = await caller.http.post("/oauth2/token", data=form)
        assert (again.status_code, again.json()["error"]) == (401, "invalid_client")

    calling(body)


def test_the_token_endpoint_speaks_oauth(calling: Calling, world: Any) -> None:
    async def body(caller: Any) -> None:
        post = caller.http.post
        as_json = await post("/oauth2/token", json=world.form("reader"))
        assert (as_json.status_code, as_json.json()["error"]) == (400, "invalid_request")
        basic = await post("/oauth2/token", data=world.form("reader"), auth=("a", "b"))
        assert (basic.status_code, basic.json()["error"]) == (401, "invalid_client")
        late = await post("/oauth2/token", data=world.form("reader", exp=int(world.clock.at) - 1))
        assert late.json()["error"] == "invalid_client"
        assert late.headers["cache-control"] == "no-store"
        metadata = (await caller.http.get("/.well-known/oauth-authorization-server")).json()
        assert metadata["token_endpoint"].endswith("/oauth2/token")
        assert "d" not in (await caller.http.get("/oauth2/jwks")).json()["keys"][0]

    calling(body)


@pytest.mark.parametrize(
    ("fault", "status", "expected"),
    [
        (TamperedError("box", "moved"), 500, "tampered"),
        (ObjectError("gone"), 503, "objects_unavailable"),
        (CatalogueError("locked"), 503, "catalogue_unavailable"),
        (KekError("other"), 503, "kek_unavailable"),
        (ZeroDivisionError("1200000000020 54321 /etc"), 500, "internal"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_a_fault_is_told_without_a_word_of_itself(
    calling: Calling,
    world: Any,
    *,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: Exception,
    status: int,
    expected: str,
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr(type(world.store.reads), "read", broken)

    async def body(caller: Any) -> None:
        answer = await caller.reads("reader")
        assert code(answer) == (status, expected)
        metrics = (await caller.http.get("/metrics")).text
        assert f'code="{expected}"' in metrics
        if expected == "tampered":
            assert "meterkeep_tampered_total 1.0" in metrics
        labels = "".join(line.rsplit(" ", 1)[0] for line in metrics.splitlines())
        told = answer.text + labels + "".join(capsys.readouterr())
        for secret in (HOME.text, str(ENERGY), "/etc", "mp_"):
            assert secret not in told.replace("meterkeep_half_hours", "")

    calling(body)


def test_no_leaf_no_answer(calling: Calling, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise CatalogueError("the disk is full")

    async def body(caller: Any) -> None:
        await caller.handle("reader")
        monkeypatch.setattr(type(world.store.log), "start", refuse)
        assert code(await caller.reads("reader")) == (503, "catalogue_unavailable")
        assert code(await caller.reads("stranger")) == (503, "catalogue_unavailable")

    calling(body)


def test_bodies_and_headers_have_a_bound(calling: Calling) -> None:
    async def body(caller: Any) -> None:
        headers = await caller.headers("reader")
        large = b'{"mpxn": "' + b"1" * 20_000 + b'"}'
        kind = {"content-type": "application/json"}
        answer = await caller.http.post(
            "/v1/meter-points/lookup", content=large, headers=headers | kind
        )
        assert code(answer) == (413, "body_too_large")
        answer = await caller.http.get("/healthz", headers={"x": "y" * 20_000})
        assert code(answer) == (431, "header_too_large")

    calling(body)


@pytest.mark.parametrize(
    ("content", "status", "expected"),
    [
        (b"", 422, "bad_json"),
        (b"[]", 422, "bad_json"),
        (b"{", 422, "bad_json"),
        (b"[" * 9_000, 422, "bad_json"),
        (b'{"mpxn": "1200000000020", "mpxn": "1"}', 422, "bad_json"),
        (b"\xff", 422, "bad_json"),
        (b"{}", 422, "missing_parameter"),
        (b'{"mpxn": 1200000000020}', 422, "missing_parameter"),
        (b'{"mpxn": "1200000000021"}', 422, "malformed_mpxn"),
        (b'{"mpxn": ""}', 422, "malformed_mpxn"),
        (b'{"mpan": "1200000000020"}', 422, "unknown_parameter"),
    ],
)
def test_a_bad_lookup_is_told_without_echo(
    calling: Calling, content: bytes, status: int, expected: str
) -> None:
    async def body(caller: Any) -> None:
        headers = await caller.headers("reader") | {"content-type": "application/json"}
        answer = await caller.http.post("/v1/meter-points/lookup", content=content, headers=headers)
        assert code(answer) == (status, expected)
        assert "120000000002" not in answer.text

    calling(body)


def test_addresses_that_are_not_there_are_problems_too(calling: Calling) -> None:
    async def body(caller: Any) -> None:
        assert code(await caller.http.get("/v1/nothing")) == (404, "not_found")
        assert code(await caller.http.get("/oauth2/token")) == (405, "method_not_allowed")
        assert code(await caller.http.get("/docs")) == (404, "not_found")
        answer = await caller.reads("reader", accept="image/png")
        assert code(answer) == (406, "not_acceptable")

    calling(body)


def test_health_metrics_and_openapi_stand_open(calling: Calling) -> None:
    async def body(caller: Any) -> None:
        assert (await caller.http.get("/healthz")).json() == {"status": "alive"}
        assert (await caller.http.get("/readyz")).json() == {"status": "ready"}
        await caller.reads("reader")
        metrics = (await caller.http.get("/metrics")).text
        assert 'route="/v1/meter-points/{meter_point}/reads",status="200"' in metrics
        assert "mp_" not in metrics.replace("temp_", "")
        document = (await caller.http.get("/openapi.json")).json()
        reads = document["paths"]["/v1/meter-points/{meter_point}/reads"]["get"]
        names = {parameter["name"] for parameter in reads["parameters"]}
        assert {"srv", "from", "to", "register", "granularity", "tz", "partial", "as_of"} <= names
        assert reads["responses"]["200"]["content"]["application/json"]["examples"]
        assert set(reads["responses"]) == {
            "200", "401", "403", "404", "406", "410", "422", "429", "500", "503",
        }  # fmt: skip

    calling(body)


def test_an_answer_as_of_its_commit_comes_again(calling: Calling) -> None:
    async def body(caller: Any) -> None:
        now = await caller.reads("reader")
        then = await caller.reads("reader", as_of=now.headers["meterkeep-commit"])
        assert then.content == now.content

    calling(body)
