"""Another program opens a household, from the bytes alone and by what store/README.md says of them.

Nothing of the store is imported but what puts the reads there: a reader in another language would
have to do what this one does, and no more.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import struct
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

from store.reads import Register
from tests.world import DAY, World, days_of, mpan, window_of

HOME = mpan(1)
EVEN, ODD = list(range(48)), [None, 65_533] * 24


def fields(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def opened(key: bytes, wrapped: bytes, context: bytes) -> bytes:
    return AESGCM(key).decrypt(wrapped[:12], wrapped[12:], context)


class Bytes:
    """A store seen from outside: a database file, a folder, a key file."""

    def __init__(self, world: World) -> None:
        settings = world.store.settings
        self.kek, self.folder = Path(settings.kek).read_bytes(), Path(settings.objects)
        self.database = sqlite3.connect(settings.home / "catalogue.db")
        self.store = self.one("SELECT store FROM head")[0]

    def one(self, query: str, *values: object) -> tuple[bytes, ...]:
        [row] = self.database.execute(query, values).fetchall()
        return tuple(row)

    def unwrapped(self, wrapped: bytes, context: bytes) -> bytes:
        bound = opened(self.kek, wrapped, context)
        assert bound[-32:] == hashlib.sha256(context).digest()
        return bound[:-32]

    def secret(self, name: str) -> bytes:
        [wrapped] = self.one("SELECT wrapped FROM secrets WHERE name = ? AND generation = 1", name)
        context = fields(b"meterkeep secret v1", self.store, name.encode(), b"\x01")
        return self.unwrapped(wrapped, context)

    def subject_of(self, digits: str) -> tuple[bytes, bytes]:
        """Return the subject and the sealed meter point of an MPXN's only tenancy."""
        message = fields(b"meterkeep mpxn v1", digits.encode())
        tag = hmac.digest(self.secret("lookup"), message, "sha256")
        subject, sealed = self.one("SELECT subject, mpxn FROM tenancies WHERE tag = ?", tag)
        return subject, sealed

    def dek_of(self, subject: bytes) -> bytes:
        bucket = (int.from_bytes(subject[:2], "big") >> 4).to_bytes(2, "big")
        query = "SELECT wrapped FROM bucket_keys WHERE bucket = ? AND generation = 1"
        [wrapped] = self.one(query, int.from_bytes(bucket, "big"))
        one = (1).to_bytes(4, "big")
        key = self.unwrapped(wrapped, fields(b"meterkeep bucket v1", self.store, bucket, one))
        wrapped, check = self.one('SELECT wrapped, "check" FROM deks WHERE subject = ?', subject)
        context = fields(b"meterkeep dek v1", self.store, bucket, one, subject, one)
        dek = opened(key, wrapped, context)
        committed = hmac.digest(dek, b"meterkeep dek v1" + self.store + one, "sha256")
        assert committed[:16] == check
        return dek

    def boxes_of(self, subject: bytes) -> list[bytes]:
        """Return a subject's boxes in its only live file."""
        query = "SELECT name, page FROM files JOIN runs ON file = id WHERE state = 1"
        name, page = self.one(query)
        runs = [page[at : at + 40] for at in range(0, len(page), 40)]
        run = next(run for run in runs if run[:16] == subject)
        start, count = int.from_bytes(run[16:22], "little"), int.from_bytes(run[22:24], "little")
        found = (self.folder / str(name)).read_bytes()[start : start + count * 146]
        assert hashlib.sha256(found).digest()[:16] == run[24:]
        return [found[at : at + 146] for at in range(0, len(found), 146)]


@pytest.fixture
def outside(home: World) -> Iterator[Bytes]:
    found = Bytes(home)
    yield found
    found.database.close()


def test_the_reads_open_by_the_document_alone(home: World, outside: Bytes) -> None:
    home.keep(days_of(HOME, (DAY, EVEN), (DAY + 1, ODD)))
    subject, sealed = outside.subject_of(HOME.text)
    dek = outside.dek_of(subject)
    context = fields(b"meterkeep mpxn v1", subject, (1).to_bytes(4, "big"))
    assert opened(dek, sealed, context) == HOME.text.encode()

    told = {}
    for box in outside.boxes_of(subject):
        register = bytes([Register.ACTIVE_IMPORT])
        aad = b"meterkeep box v1" + outside.store + register + subject + box[:22]
        block = AESGCM(dek).decrypt(box[22:34], box[34:], aad)
        energy = struct.unpack("<48H", block)
        states = [box[10 + slot // 4] >> 2 * (slot % 4) & 3 for slot in range(48)]
        day, _batch, number = struct.unpack("<HII", box[:10])
        assert number == 1
        told[day] = [energy[slot] if states[slot] else None for slot in range(48)]
        assert all((energy[slot] == 0xFFFF) == (states[slot] == 0) for slot in range(48))
    assert told == {DAY: EVEN, DAY + 1: ODD}


def test_a_handle_is_what_the_document_says(home: World, outside: Bytes) -> None:
    party = home.party("reader")
    given = home.store.keys.handles.of(HOME, party)
    padded = HOME.text.ljust(13).encode()
    concealed = AESSIV(outside.secret("handle")).encrypt(
        padded, [b"meterkeep mp v1", party.encode()]
    )
    assert given == "mp_" + urlsafe_b64encode(concealed).rstrip(b"=").decode()
    assert len(given) == 3 + 39


def test_every_leaf_commits_to_its_detail_and_does_not_tell_it(home: World, outside: Bytes) -> None:
    home.keep(days_of(HOME, (DAY, EVEN)))
    home.allow(HOME)
    home.reads(HOME, window_of(DAY))
    rows = outside.database.execute(
        "SELECT leaf, key, detail FROM leaves JOIN details USING (entry)"
    )
    kinds = set()
    for leaf, key, detail in rows:
        assert leaf[0] == 1
        said = json.loads(leaf[1:])
        assert list(said) == sorted(said)
        assert said["commitment"] == hmac.digest(key, detail.encode(), "sha256").hex()
        assert HOME.text not in leaf.decode() + detail
        kinds.add(said["kind"])
    assert kinds == {"fact", "ingest", "intent"}
