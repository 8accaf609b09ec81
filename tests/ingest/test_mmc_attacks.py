"""Documents that are no responses, or want more than one needs: a stable code, nothing taken."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline import UnfitError
from ingest.results import Fate
from ingest.sources import mmc
from ingest.sources.documents import MOST_DEPTH
from store.errors import InputError
from tests.ingest import responses
from tests.ingest.intake import Memory, taken, written
from tests.ingest.responses import (
    DAY,
    END,
    GOOD,
    MMC,
    NOON,
    ROOT,
    header,
    imported,
    refusal,
    response,
    stamps,
    tag,
    take,
)

MANY = " ".join(f'n{n}="u"' for n in range(30_000))  # attributes
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


def within(text: str, declaration: str, value: str = "1") -> str:
    """Return ``text`` with a document type, and another first value."""
    head, _, rest = text.partition("\n")
    return f"{head}{declaration}{rest}".replace("PrimaryValue>1<", f"PrimaryValue>{value}<")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (within(GOOD, f'<!DOCTYPE r [<!ENTITY l0 "lol">{LAUGHS}]>', "&l9;"), "xml_forbidden"),
        (within(GOOD, "<!DOCTYPE r>"), "xml_forbidden"),
        (
            within(GOOD, '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>', "&x;"),
            "xml_forbidden",
        ),
        (within(GOOD, '<!DOCTYPE r SYSTEM "http://127.0.0.1:9/x.dtd">'), "xml_forbidden"),
        (within(GOOD, "<!DOCTYPE r [<!ENTITY % p SYSTEM 'x'> %p;]>"), "xml_forbidden"),
        (within(GOOD, "", "&undeclared;"), "damaged_file"),
        (GOOD[:-30], "damaged_file"),
        (GOOD[: GOOD.index("<ra:PrimaryValue>") + 18], "damaged_file"),
        (GOOD + GOOD.partition("\n")[2], "damaged_file"),
        (GOOD.replace("UTF-8", "x-none"), "wrong_profile"),
        (GOOD.encode("utf-16"), "not_utf8"),
        (GOOD.encode() + b"\0", "binary_file"),
        ("", "empty_file"),
        ("time,value\n1,2\n", "wrong_profile"),
        (GOOD.replace(responses.NAMESPACE, "http://example.com/"), "wrong_profile"),
        (GOOD.replace("ra:GBCSResponse", "ra:Response"), "wrong_profile"),
        (ROOT + tag("All", GOOD.partition("\n")[2]) + END, "srv_not_kept"),
        (response(imported(NOON, 1), head=""), "wrong_profile"),
        (response(imported(NOON, 1), head=header(device="")), "wrong_profile"),
        (response(imported(NOON, 1), head=header() * 2), "two_responses"),
        (GOOD.replace("</ra:Header>", tag("BusinessOriginatorID", "0") + "</ra:Header>"),
         "two_responses"),
        (GOOD.replace("</ra:SMETSData>", tag("ReadExportProfileDataRsp") + "</ra:SMETSData>"),
         "two_responses"),
        (response(srv="4.17"), "srv_not_kept"),
        (GOOD.replace("ReadActiveImportProfileDataRsp", "UpdateSupplierNameRsp"), "srv_not_kept"),
        (ROOT + header(srv=None) + END, "srv_not_kept"),
        (response(imported(NOON, 1), head=header(srv="4.8.3")), "srv_disagrees"),
        (GOOD.replace(NOON, "<b/>" + NOON), "malformed_response"),
        (GOOD.replace(NOON, NOON + " " * 1_000), "text_too_long"),
        (GOOD.replace("<ra:Body>", f"<!--{'c' * 200_000}--><ra:Body>"), "text_too_long"),
        (GOOD.replace("<ra:Body>", f'<ra:Body x="{"a" * 200_000}">'), "text_too_long"),
        (GOOD.replace("<ra:Body>", f"<ra:Body {MANY}>"), "text_too_long"),
        (ROOT + "<a>" * MOST_DEPTH * 1_000, "too_deep"),
        (GOOD.replace("<ra:Timestamp>20", "<a>" * MOST_DEPTH + "<ra:Timestamp>20"), "too_deep"),
    ],
)  # fmt: skip
def test_what_is_no_response_says_why_and_nothing_of_it_is_taken(
    tmp_path: Path, text: str | bytes, code: str
) -> None:
    assert refusal(tmp_path, text) == code


def test_what_is_known_and_not_kept_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnfitError, match=r"4\.17 is known"):
        take(tmp_path, response(srv="4.17"))


def test_a_forbidden_declaration_is_never_quoted(tmp_path: Path) -> None:
    text = within(GOOD, '<!DOCTYPE r [<!ENTITY secret SYSTEM "file:///etc/passwd">]>')
    with pytest.raises(UnfitError) as caught:
        take(tmp_path, text)
    assert "passwd" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_damage_behind_the_first_entries_takes_nothing_and_keeps_the_file_before(
    tmp_path: Path,
) -> None:
    entries = [imported(t, 1) for t in stamps(DAY, 3_000)]
    good = written(tmp_path / "good.xml", GOOD)
    bad = written(tmp_path / "bad.xml", response(*entries)[:-40])
    memory = Memory()
    found = taken(memory, good, bad, profile=MMC)
    assert [each.fate for each in found.files] == [Fate.TAKEN, Fate.STOPPED]
    assert found.stopped is not None
    assert found.stopped.error is not None
    assert found.stopped.error.code == "damaged_file"
    assert len(memory.reads) == 1


def test_a_file_that_is_larger_than_any_response_is_not_parsed(tmp_path: Path) -> None:
    assert refusal(tmp_path, GOOD + " " * mmc.MOST_BYTES) == "file_too_large"


def test_a_file_that_changes_between_two_passes_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "response.xml", GOOD)
    file = mmc.Response.look(path)
    file.digest()
    path.write_text(GOOD.replace("PrimaryValue>1<", "PrimaryValue>2<"))
    with pytest.raises(InputError) as caught:
        list(file.ranges(1))
    assert caught.value.code == "file_changed"


def test_a_response_that_fails_after_it_was_looked_at_is_refused(tmp_path: Path) -> None:
    """Whether it failed was read in that look: here nobody has hashed the file yet."""
    path = written(tmp_path / "response.xml", GOOD)
    file = mmc.Response.look(path)
    path.write_text(GOOD.replace('"true"', '"nope"'))
    with pytest.raises(InputError) as caught:
        list(file.ranges(1))
    assert caught.value.code == "file_changed"


@given(st.binary(max_size=60), st.integers(0, len(GOOD)), st.integers(0, 40))
def test_noise_in_a_document_is_an_error_or_a_read_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, gone: int
) -> None:
    body = GOOD.encode()
    path = written(tmp_path_factory.mktemp("m") / "r.xml", body[:at] + noise + body[at + gone :])
    memory = Memory()
    with suppress(UnfitError):
        taken(memory, path, profile=MMC)
    assert len(memory.reads) <= 1


def test_thirteen_months_are_read_in_little_memory(tmp_path: Path) -> None:
    text = response(*(imported(t, 300) for t in stamps(DAY, 19_056)))
    path = written(tmp_path / "r.xml", text)
    file = mmc.Response.look(path)
    tracemalloc.start()
    lines = sum(chunk.count(b"\n") for chunk in file.ranges(1 << 14))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lines == 19_056
    assert peak < 1_000_000, "a tree of it would need thirty times as much"
    memory = Memory()
    assert taken(memory, path, profile=MMC).reads == 19_056
