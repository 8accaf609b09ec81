"""Meter points as numbers say the same as `Mpxn.parse`, a million at a time."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from ingest.columns import Texts
from ingest.meterpoints import households, mpxn_of, number_of, numbers
from store.errors import MalformedMpxnError
from store.reads import Mpxn, mpan_check_digit


def _parsed(text: bytes) -> str | None:
    try:
        return Mpxn.parse(text.decode()).text
    except MalformedMpxnError:
        return None


mpans = st.from_regex(r"[0-9]{12}", fullmatch=True).map(lambda t: t + str(mpan_check_digit(t)))
texts = st.one_of(
    mpans,
    st.from_regex(r"[0-9]{0,14}", fullmatch=True),
    st.text(st.sampled_from("0123456789 /:aA-\x00"), max_size=14),
)


@given(st.lists(texts.map(str.strip).map(str.encode), max_size=20))
@example([b"1800021679848", b"1800021679849", b"0000000000000", b"0", b"007", b"9999999999"])
@example([b"12\x00", b"", b"/", b":", "٣".encode(), b"1800021679848\x00"])
def test_a_number_is_given_to_meter_points_and_to_nothing_else(candidates: list[bytes]) -> None:
    found = numbers(Texts.of(candidates)).tolist()
    assert [mpxn_of(n).text if n else None for n in found] == [_parsed(c) for c in candidates]


@given(mpans | st.integers(1, 10**10 - 1).map(str))
def test_a_meter_point_comes_back_from_its_number(text: str) -> None:
    mpxn = Mpxn.parse(text)
    assert mpxn_of(number_of(mpxn)) == mpxn


def test_a_household_stands_for_a_london_meter_point() -> None:
    """Contract: MAC000002 is 1200000000020."""
    [two, other] = households(Texts.of([b"MAC000002", b"MAC999999"])).tolist()
    assert mpxn_of(two).text == "1200000000020"
    assert Mpxn.parse(mpxn_of(other).text).text.startswith("120000999999")


def test_what_only_looks_like_a_household_is_none() -> None:
    doubtful = [b"MAC00002", b"MAC0000002", b"mac000002", b"MAC00000a", b"XYZ000002", b"", b"MAC"]
    assert households(Texts.of(doubtful)).tolist() == [0] * len(doubtful)
