"""Whatever bytes come, what gets out is a refusal with its code, never an error nobody foresaw."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from service.app import create_app
from store.policy import limit_rules
from store.policy.limit_rules import Limit, LimitRules
from tests.service import hostile
from tests.service.conftest import Caller

Calling = Callable[[Callable[[Caller], Coroutine[Any, Any, None]]], None]
RUNS = 20_000
_FUZZ = """
import sys, atheris
with atheris.instrument_imports(include=["service"]):
    from tests.service import hostile
from pathlib import Path
hostile.main(int(sys.argv[1]), Path(sys.argv[2]))
"""


@given(st.binary(max_size=400))
def test_no_bytes_get_more_than_a_refusal(data: bytes) -> None:
    hostile.from_bytes(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["alg", "typ", "kid", "crit", "b64", "jwk", "jku", "iss", "sub", "aud", "exp", "iat", "nbf",
     "jti", "cnf", "htm", "htu", "ath", "client_id"]
)  # fmt: skip
OBJECTS = st.dictionaries(NAMES, JSON | st.sampled_from([hostile.URL, "EdDSA", "at+jwt"]))


@given(OBJECTS, OBJECTS, st.binary(max_size=70))
def test_no_header_and_no_claims_get_more_than_a_refusal(
    header: dict[str, Any], claims: dict[str, Any], signature: bytes
) -> None:
    parts = [hostile.json_of(header), hostile.json_of(claims)]
    made = hostile.signed(*parts, signature)
    hostile.tell(made, made)


@given(st.sampled_from([hostile.TOKEN, hostile.PROOF]), st.integers(0, 400), st.characters())
def test_one_letter_changed_gets_no_more_than_a_refusal(text: str, at: int, other: str) -> None:
    at %= len(text)
    changed = text[:at] + other + text[at + 1 :]
    hostile.tell(changed, changed)


def test_nothing_that_a_fuzzer_finds_gets_more_than_a_refusal(tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: it has wheels for CPython 3.11 on Linux alone")
    done = subprocess.run(
        [sys.executable, "-c", _FUZZ, str(RUNS), str(tmp_path)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3_000:]


# ---- every address, by its own document --------------------------------------------------------

CASES = 12  # of each address, as its own document describes it and as it forbids


@pytest.mark.filterwarnings("ignore")  # what schemathesis says of the document itself
def test_what_the_document_describes_is_answered_as_it_says(
    calling: Calling, monkeypatch: pytest.MonkeyPatch
) -> None:
    much = LimitRules(Limit(1e6, 1_000_000, 1 << 50), {}, 1_000_000, 1e6)
    monkeypatch.setattr(limit_rules, "load", lambda _: much)
    seen: Counter[int] = Counter()

    async def body(caller: Caller) -> None:
        loop = asyncio.get_running_loop()
        headers = await caller.headers("reader")
        app = create_app(caller.world.store)
        document = app.openapi()
        schema = schemathesis.openapi.from_dict(document)

        def ask(case: Any) -> None:
            told = case.as_transport_kwargs(base_url="http://unused")
            path = "/" + told["url"].split("/", 3)[3]
            said = {k: v for k, v in (told.get("headers") or {}).items() if _sendable(k, v)}
            sent: dict[str, Any] = {"headers": said | headers, "params": told.get("params")}
            for name in ("json", "data", "content"):
                if told.get(name) is not None:
                    sent[name] = told[name]
            answer = asyncio.run_coroutine_threadsafe(
                caller.http.request(told["method"], path, **sent), loop
            ).result(60)
            seen[answer.status_code] += 1
            described = document["paths"][case.path][case.method.lower()]["responses"]
            known = {*described, "404", "405"} if "{" in case.path else {*described, "405"}
            where = case.method, case.path, answer.status_code, answer.text[:200]
            assert answer.status_code < 500, where
            assert str(answer.status_code) in known or not described, where
            if answer.status_code >= 400 and not case.path.startswith("/oauth2"):
                assert answer.headers["content-type"] == "application/problem+json", where
                assert answer.json()["status"] == answer.status_code

        def every() -> int:
            number = 0
            for found in schema.get_all_operations():
                operation = found.ok()
                number += 1
                for mode in schemathesis.GenerationMode:
                    with suppress(Unsatisfiable):  # nothing is forbidden where nothing is taken
                        _several(ask, operation.as_strategy(generation_mode=mode))
            return number

        assert await asyncio.to_thread(every) >= 15

    calling(body)
    assert seen.total() > 300, seen
    assert {200, 404, 422} <= seen.keys(), seen
    assert 429 not in seen, seen


def _several(ask: Callable[[Any], None], cases: Any) -> None:
    @seed(7)
    @settings(
        max_examples=CASES, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(cases)
    def asking(case: Any) -> None:
        ask(case)

    asking()


def _sendable(name: str, value: Any) -> bool:
    """Return whether HTTP/1.1 can carry a header at all, and the test does not set it itself."""
    return name.lower() not in {"authorization", "dpop"} and str(value).isascii()
