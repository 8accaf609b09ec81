"""Every way to fail has its status and its stable code, and tells nothing else."""

from __future__ import annotations

import json

import pytest

from service.jose import BadTokenError
from service.problems import INTERNAL, Problem, problem_of, problem_of_status
from store.errors import (
    CatalogueError,
    CommitConflictError,
    ErasedError,
    InputError,
    KekError,
    MalformedMpxnError,
    MeterkeepError,
    NewerStoreError,
    NotInitialisedError,
    ObjectError,
    RefusedError,
    StoreError,
    TamperedError,
)

SECRET = "1200000000020 at /var/store says 203 Wh"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RefusedError("no", code="consent_missing"), 403, "consent_missing"),
        (RefusedError("no", code="before_move_in"), 403, "before_move_in"),
        (RefusedError("gone", code="erased"), 410, "erased"),
        (ErasedError(), 410, "erased"),
        (InputError("bad", code="bad_time"), 422, "bad_time"),
        (MalformedMpxnError(), 422, "malformed_mpxn"),
        (InputError("no", code="unknown_meter_point"), 404, "unknown_meter_point"),
        (BadTokenError("no"), 401, "invalid_token"),
        (BadTokenError("no", code="token_missing"), 401, "token_missing"),
        (CatalogueError("x"), 503, "catalogue_unavailable"),
        (ObjectError("x"), 503, "objects_unavailable"),
        (KekError("x"), 503, "kek_unavailable"),
        (CommitConflictError("x"), 503, "commit_conflict"),
        (TamperedError("box", "x"), 500, "tampered"),
        (StoreError("x"), 500, "internal"),
        (NewerStoreError("x"), 500, "internal"),
        (NotInitialisedError(), 500, "internal"),
        (MeterkeepError("x"), 500, "internal"),
        (ValueError("x"), 500, "internal"),
        (RecursionError(), 500, "internal"),
    ],
    ids=lambda value: getattr(value, "code", str(value)),
)
def test_each_error_has_its_status_and_code(error: Exception, status: int, code: str) -> None:
    problem = problem_of(error)
    document = json.loads(problem.body())
    assert (problem.status, problem.code) == (status, code)
    assert document["status"] == status
    assert document["code"] == code
    assert document["type"] == f"urn:meterkeep:problem:{code}"
    assert document["title"]
    assert document["detail"]
    assert problem.headers()["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        StoreError(SECRET),
        TamperedError("box", SECRET),
        CatalogueError(SECRET),
        ObjectError(SECRET),
        KekError(SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_of_ours_tells_nothing_of_itself(error: Exception) -> None:
    assert SECRET not in problem_of(error).body().decode()
    assert problem_of(error).alarm


def test_a_401_says_how_to_come_back() -> None:
    bare = Problem(401, "token_missing", "").headers()["www-authenticate"]
    assert bare == 'DPoP algs="ES256 EdDSA Ed25519 PS256"'
    replayed = Problem(401, "used_before", "").headers()["www-authenticate"]
    assert 'error="invalid_dpop_proof"' in replayed
    assert "invalid_token" in Problem(401, "invalid_token", "").headers()["www-authenticate"]


def test_a_503_says_when() -> None:
    assert problem_of(CatalogueError("x")).headers()["retry-after"] == "5"


@pytest.mark.parametrize("status", [400, 404, 405, 418])
def test_a_bare_status_becomes_a_problem(status: int) -> None:
    assert json.loads(problem_of_status(status).body())["status"] == status


def test_the_unforeseen_is_an_alarm() -> None:
    assert INTERNAL.alarm
