"""The DCC's responses to service requests: a meter's message, an acknowledgement, an error."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from ingest.pipeline import UnfitError
from ingest.profiles import Form, Profile
from ingest.replay import replay
from ingest.results import Fate
from ingest.sources.documents import MOST_DEPTH
from ingest.sources.duis import read
from store.errors import InputError
from store.reads import Mpxn
from tests.ingest.intake import START, Memory, taken, written
from tests.ingest.messages import (
    BROKER,
    ELECTRICITY,
    EXPORT,
    GAS,
    MPXNS,
    NAMESPACE,
    NOON,
    REACTIVE,
    SRVS,
    VECTORS,
    failed,
    message,
    profile,
    response,
    since,
)
from tests.ingest.responses import MPAN, refusal
from tests.ingest.test_gbcs import REGISTERS, run

SCHEMA = Path(__file__).parents[3] / "shared/dcc/xsd"
AT_NOON = START + 23
ROWS = [[since(NOON), 5]]
PAYLOAD = message(REACTIVE, ROWS).data
GOOD = response(PAYLOAD)
SIGNED = '<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/>'
DUIS = profile(Form.DUIS, proven=False)
MANY = " ".join(f'n{n}="u"' for n in range(30_000))  # attributes
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


def take(folder: Path, text: str, how: Profile = DUIS) -> Memory:
    memory = Memory()
    taken(memory, written(folder / "response.xml", text), profile=how)
    return memory


def within(declaration: str, code: str = "I0") -> str:
    """Return a response with a document type."""
    head, _, rest = GOOD.partition("\n")
    return f"{head}{declaration}{rest}".replace(">I0<", f">{code}<")


@pytest.mark.parametrize("code", [ELECTRICITY, REACTIVE, EXPORT, GAS])
@pytest.mark.parametrize("scheduled", [True, False])
def test_the_message_inside_is_read_as_it_would_be_alone(
    tmp_path: Path, code: int, *, scheduled: bool
) -> None:
    values = [5, 6][: len(REGISTERS[code])]
    data = message(code, [[since(NOON), *values]]).data
    text = response(data, srv=SRVS[code], scheduled=scheduled)
    memory = take(tmp_path, text, profile(Form.DUIS, MPXNS[code]))
    words = zip(REGISTERS[code], values, strict=True)
    assert memory.reads == {(MPXNS[code], word, AT_NOON): n for word, n in words}


def test_a_response_comes_again_with_another_date_and_signature_and_adds_nothing(
    tmp_path: Path,
) -> None:
    """Domain 6.1: duplicates must be expected."""
    memory = Memory()
    first = written(tmp_path / "a.xml", GOOD)
    twin = response(PAYLOAD, date="2020-01-01T00:00:09.00Z", signature=SIGNED)
    again = written(tmp_path / "b.xml", twin.replace("sr:", "").replace("xmlns:sr", "xmlns"))
    found = taken(memory, first, again, profile=DUIS)
    assert [each.fate for each in found.files] == [Fate.TAKEN, Fate.SEEN]
    assert taken(memory, again, profile=DUIS).files[0].fate is Fate.SEEN
    other = written(tmp_path / "c.xml", GOOD.replace(":4096<", ":4097<"))
    assert taken(memory, other, profile=DUIS).files[0].fate is Fate.TAKEN, "another request's"
    wet = written(tmp_path / "d.xml", response(message(REACTIVE, [[since(NOON), 6]]).data))
    assert taken(memory, wet, profile=DUIS).files[0].fate is Fate.TAKEN, "it says another thing"
    assert list(memory.reads.values()) == [6]


def test_an_acknowledgement_is_one_and_holds_no_read(tmp_path: Path) -> None:
    memory = take(tmp_path, response(None, code="I99"))
    assert memory.reads == {}
    assert memory.lines == [(1, "acknowledged")]
    assert memory.rejected[0][1][0].text == ",I99,,"
    with pytest.raises(InputError) as caught:
        replay(memory, memory, 0, read=lambda text: Profile.parse(text, Mpxn(MPAN)))
    assert caught.value.code == "acknowledged"


@pytest.mark.parametrize("code", ["E1", "E4", "E120207", "E65"])
@pytest.mark.parametrize("payload", [None, PAYLOAD])
def test_an_error_of_the_dcc_is_recorded_with_its_code_and_is_no_zero(
    tmp_path: Path, code: str, payload: bytes | None
) -> None:
    memory = take(tmp_path, response(payload, code=code))
    assert memory.reads == {}
    assert memory.lines == [(1, "message_failed")]
    assert memory.rejected[0][1][0].text == f",{code},,"


def test_a_meter_that_failed_is_recorded_though_the_dcc_succeeded(tmp_path: Path) -> None:
    memory = take(tmp_path, response(failed(REACTIVE).data))
    assert memory.lines == [(1, "message_failed")]


def test_an_acknowledgement_and_the_response_after_it_go_in_together(tmp_path: Path) -> None:
    first = written(tmp_path / "a.xml", response(None, code="I99"))
    then = written(tmp_path / "b.xml", GOOD)
    memory = Memory()
    assert taken(memory, first, then, profile=DUIS).reads == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty_file"),
        ("hello", "wrong_profile"),
        (PAYLOAD.hex(), "wrong_profile"),
        (GOOD.replace(NAMESPACE, "http://example.com/"), "wrong_profile"),
        (GOOD.replace("sr:Response ", "sr:Request ").replace("</sr:Response>", "</sr:Request>"),
         "wrong_profile"),
        (GOOD[:-20], "damaged_file"),
        (GOOD + GOOD.partition("\n")[2], "damaged_file"),
        (within("<!DOCTYPE r>"), "xml_forbidden"),
        (within('<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>', "&x;"), "xml_forbidden"),
        (within(f'<!DOCTYPE r [<!ENTITY l0 "E1">{LAUGHS}]>', "&l9;"), "xml_forbidden"),
        (GOOD.replace("<sr:Body>", f"<sr:Body {MANY}>"), "text_too_long"),
        (GOOD.replace("<sr:Body>", f"<!--{'c' * 200_000}--><sr:Body>"), "text_too_long"),
        (GOOD.replace(">I0<", f">{'I' * 1_000}<"), "text_too_long"),
        (response("A" * 2_000_000), "text_too_long"),
        (GOOD.replace("<sr:Body>", "<a>" * MOST_DEPTH + "<sr:Body>"), "too_deep"),
        (GOOD.replace("</sr:Body>", "</sr:Body><sr:Body><sr:ResponseMessage/></sr:Body>"),
         "two_responses"),
        (GOOD.replace("<sr:GBCSPayload>", "<sr:GBCSPayload>AA==</sr:GBCSPayload><sr:GBCSPayload>"),
         "two_responses"),
        (response(PAYLOAD, scheduled=True).replace(
            "<sr:DSPScheduledMessage>", "<sr:GBCSPayload>AA==</sr:GBCSPayload>"
            "<sr:DSPScheduledMessage>"), "two_responses"),
        (GOOD.replace("ResponseMessage>", "DeviceAlertMessage>"), "not_a_response"),
        (GOOD.replace("ResponseMessage>", "SMETS1ResponseMessage>"), "smets1_response"),
        (response(PAYLOAD, srv="11.2"), "srv_not_kept"),
        (response(None, srv="4.17"), "srv_not_kept"),
        (response(PAYLOAD, srv="4.8.1"), "srv_disagrees"),
        (response(PAYLOAD, meter=BROKER), "device_disagrees"),
        (GOOD.replace("ResponseID>9", "ResponseID>Z"), "malformed_response"),
        (response(PAYLOAD, code="zero"), "malformed_response"),
        (response(PAYLOAD, code=""), "malformed_response"),
        (response(PAYLOAD, code="I99"), "malformed_response"),
        (response(None), "malformed_response"),
        (response("A"), "malformed_response"),
        (response("not base64!"), "malformed_response"),
        (response(base64.b64encode(PAYLOAD).decode() + "!"), "malformed_response"),
        (response("\u0661" * 4), "malformed_response"),
        (response(""), "malformed_message"),
        (response(PAYLOAD[:-1]), "malformed_message"),
        (response(replace(message(REACTIVE, ROWS), kind=1).data), "not_a_response"),
        (response(message(ELECTRICITY, ROWS).data, srv="4.8.1"), "payload_encrypted"),
        (GOOD.replace(">I0<", "><b/>I0<"), "malformed_response"),
    ],
)  # fmt: skip
def test_what_is_no_response_says_why_and_nothing_of_it_is_taken(
    tmp_path: Path, text: str, code: str
) -> None:
    assert refusal(tmp_path, text, DUIS) == code


def test_what_is_known_and_not_kept_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnfitError, match=r"4\.17 is known"):
        take(tmp_path, response(None, srv="4.17"))


def test_a_forged_payload_is_refused_where_a_key_can_tell(tmp_path: Path) -> None:
    data = bytearray(PAYLOAD)
    data[-13 - 4] ^= 1  # inside the covered part
    text = response(bytes(data))
    assert refusal(tmp_path, text, profile(Form.DUIS)) in {"mac_invalid", "malformed_message"}


def test_the_profile_says_whether_messages_were_proven() -> None:
    assert DUIS.text == "duis mpxn=given stamp=end"
    proven = profile(Form.DUIS)
    assert proven.text == "duis key=given mpxn=given stamp=end"
    read_back = Profile.parse(proven.text, Mpxn(MPAN))
    assert (read_back.text, read_back.proof) == (proven.text, None)
    with pytest.raises(InputError) as caught:
        Profile(Form.DUIS)
    assert caught.value.code == "meter_point_needed"


@given(st.binary(max_size=60), st.integers(0, len(GOOD)), st.integers(0, 40))
def test_noise_in_a_document_is_an_error_or_a_read_and_nothing_else(
    noise: bytes, at: int, gone: int
) -> None:
    body = GOOD.encode()
    with suppress(InputError):
        assert read(body[:at] + noise + body[at + gone :], None).lines.count(b"\n") <= 1


@given(st.binary(max_size=200))
def test_noise_in_base64_is_an_error(noise: bytes) -> None:
    with pytest.raises(InputError) as caught:
        read(response(base64.b64encode(noise).decode()).encode(), None)
    assert caught.value.code == "malformed_message"


@pytest.mark.parametrize("size", range(1, len(GOOD.encode()) - 1, 7))
def test_a_response_cut_short_is_not_read(size: int) -> None:
    with pytest.raises(InputError) as caught:
        read(GOOD.encode()[:size], None)
    assert caught.value.code in {"damaged_file", "wrong_profile"}


def test_a_frozen_response_says_what_it_said() -> None:
    for vector in json.loads((VECTORS / "duis.json").read_text()):
        said = read(vector["text"].encode(), None)
        assert said.lines.decode() == vector["lines"]
        assert str(said.fault) == vector["fault"]


def test_responses_are_told_by_the_command(tmp_path: Path) -> None:
    acknowledged = written(tmp_path / "a.xml", response(None, code="I99"))
    refused = written(tmp_path / "b.xml", response(None, code="E4"))
    words = ["ingest", acknowledged, refused, "--profile", "duis", "--mpxn", MPAN, "--check"]
    found = run(*words)
    assert found.exit_code == 1
    assert f"{acknowledged}:1: acknowledged" in found.stderr
    assert f"{refused}:1: message_failed" in found.stderr
    assert "the reads come with a later response" in found.stdout


@pytest.fixture(scope="module")
def schema() -> etree.XMLSchema:
    """Return the DCC's own schema, which is not in this repository."""
    if not SCHEMA.is_dir():
        pytest.skip("the DCC's schemas are not here: ../shared/dcc/xsd")
    text = (SCHEMA / "DUIS_Schema.xsd").read_bytes()
    text = text.replace(b"MMC Schema V5.4.xsd", b"MMC_Schema.xsd")  # as the file is called there
    return etree.XMLSchema(etree.fromstring(text, base_url=str(SCHEMA / "DUIS_Schema.xsd")))


def test_the_documents_made_here_are_valid_by_the_published_schema(
    schema: etree.XMLSchema,
) -> None:
    for text in (
        GOOD,
        response(PAYLOAD, scheduled=True),
        response(None, code="I99"),
        response(None, code="E4"),
        response(message(ELECTRICITY, ROWS).data, srv="4.8.1"),
    ):
        schema.assertValid(etree.fromstring(text.encode()))
