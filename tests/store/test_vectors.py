"""Frozen bytes of every format: this program and a second, tiny one both make them.

The second one stands here: struct, hashlib and the primitives of cryptography, written from
store/README.md. Another language may do the same with tests/vectors/*.json. All bytes are hex.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import struct
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from sqlalchemy import select

from store import block, envelope, tables
from store.facts.marks import Marks
from store.keepers.local import FileKek
from store.keys import sealed_names
from store.keys.bucket_keys import bucket_of
from store.keys.deks import Dek
from store.keys.tags import renamed
from store.lake import parquet
from store.lake.runs import Run, rows_digest
from store.log import writer
from store.orders.export_grounds import meter_leaf
from store.proofs import tiles
from store.proofs.notes import Algorithm, Signer, Verifier, open_note, sign_note
from store.proofs.promises import Promise, promised
from store.proofs.proof_files import ProofFile
from store.proofs.submissions import Submission
from store.reads import Mpxn, Window, day_of
from store.sampling import Sample
from store.writing.quarantine import Quarantine
from tests.world import World

FOLDER = Path(__file__).parents[1] / "vectors"
VECTORS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
Said = dict[str, Any]


def hexed(said: Said) -> Said:
    """Return ``said`` with its hex as bytes; numbers, lists and words stay."""
    words = {
        "text",
        "party",
        "profile",
        "reason",
        "entry_values",
        "plain",
        "name",
        "origin",
        "note",
    }
    return {k: bytes.fromhex(v) if isinstance(v, str) and k not in words else v
            for k, v in said.items()}  # fmt: skip


# ---- the second program ----------------------------------------------------------------------


def fields(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">H", len(part)) + part for part in parts)


def gcm(key: bytes, nonce: bytes, plain: bytes, aad: bytes) -> bytes:
    return nonce + AESGCM(key).encrypt(nonce, plain, aad)


def second_block(said: Said) -> bytes:
    return struct.pack("<48H", *(0xFFFF if v is None else v for v in said["values"]))


def second_states(said: Said) -> bytes:
    bits = sum(state << 2 * at for at, state in enumerate(said["states"]))
    return bytes(bits.to_bytes(12, "little"))


def second_aad(said: Said) -> bytes:
    head = struct.pack("<HII", said["day"], said["batch"], said["number"]) + said["states"]
    register = struct.pack("B", said["register"])
    return bytes(b"meterkeep box v1" + said["store"] + register + said["subject"] + head)


def second_box(said: Said) -> bytes:
    aad = second_aad(said)
    return bytes(aad[-22:]) + gcm(said["dek"], said["nonce"], said["block"], aad)


def second_run(said: Said) -> bytes:
    place = struct.pack("<Q", said["offset"])[:6] + struct.pack("<H", said["rows"])
    return bytes(said["subject"] + place + hashlib.sha256(said["boxes"]).digest()[:16])


def second_leaf(said: Said) -> bytes:
    detail = hmac.new(said["key"], said["plain"].encode(), "sha256").hexdigest()
    told = {**said["entry_values"], "at": said["at"], "entry": said["identity"].hex()}
    told["commitment"] = detail
    return b"\x01" + json.dumps(told, sort_keys=True, separators=(",", ":")).encode()


def second_commitment(said: Said) -> bytes:
    return hmac.new(said["key"], said["plain"].encode(), "sha256").digest()


def second_bucket(said: Said) -> bytes:
    where = struct.pack(">H", said["bucket"]), struct.pack(">I", said["generation"])
    context = fields(b"meterkeep bucket v1", said["store"], *where)
    bound = said["bucket_key"] + hashlib.sha256(context).digest()
    return gcm(said["kek"], said["nonce"], bound, context)


def second_dek_context(said: Said) -> bytes:
    return fields(
        b"meterkeep dek v1", said["store"],
        struct.pack(">H", struct.unpack(">H", said["subject"][:2])[0] // 16),
        struct.pack(">I", said["generation"]), said["subject"], struct.pack(">I", said["number"]),
    )  # fmt: skip


def second_dek(said: Said) -> bytes:
    return gcm(said["bucket_key"], said["nonce"], said["dek"], second_dek_context(said))


def second_check(said: Said) -> bytes:
    message = b"meterkeep dek v1" + said["store"] + struct.pack(">I", said["number"])
    return hmac.new(said["dek"], message, "sha256").digest()[:16]


def second_mpxn(said: Said) -> bytes:
    context = fields(b"meterkeep mpxn v1", said["subject"], struct.pack(">I", said["number"]))
    return gcm(said["dek"], said["nonce"], said["text"].encode(), context)


def second_tag(said: Said) -> bytes:
    message = fields(b"meterkeep mpxn v1", said["text"].encode())
    return hmac.new(said["lookup"], message, "sha256").digest()


def second_renamed(said: Said) -> bytes:
    before = 1 if len(said["tag"]) == 32 else said["tag"][0]
    return bytes([before + 1]) + hmac.new(said["lookup"], said["tag"], "sha256").digest()


def second_journal(said: Said) -> bytes:
    context = fields(b"meterkeep journal v1", said["store"], said["entry_id"])
    return gcm(said["journal"], said["nonce"], said["plain"].encode(), context)


def second_mark(said: Said) -> bytes:
    message = json.dumps([said["text"], *said["values"]], separators=(",", ":")).encode()
    return hmac.new(said["facts"], message, "sha256").digest()[:16]


def second_handle(said: Said) -> bytes:
    text = said["text"].encode() + b" " * (13 - len(said["text"]))
    sealed = AESSIV(said["handle"]).encrypt(text, [b"meterkeep mp v1", said["party"].encode()])
    return b"mp_" + base64.urlsafe_b64encode(sealed).rstrip(b"=")


def second_rejected(said: Said) -> bytes:
    context = fields(
        b"meterkeep rejected v1", said["store"], said["digest"], said["profile"].encode(),
        said["reason"].encode(), struct.pack(">Q", said["first_line"]),
    )  # fmt: skip
    return gcm(said["quarantine"], said["nonce"], said["plain"].encode(), context)


def ed25519(seed: bytes, message: bytes) -> tuple[bytes, bytes]:
    """Return the public key of ``seed`` and its signature of ``message``."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return key.public_key().public_bytes_raw(), key.sign(message)


def key_id(name: str, typed: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + typed).digest()[:4]


def b64(data: bytes) -> bytes:
    return base64.b64encode(data)


def second_bundle(said: Said) -> bytes:
    leaves = [bytes.fromhex(leaf) for leaf in said["leaves"]]
    return b"".join(struct.pack(">H", len(leaf)) + leaf for leaf in leaves)


def second_rows(said: Said) -> bytes:
    whole = hashlib.sha256()
    for subject, boxes in said["runs"]:
        held = bytes.fromhex(boxes)
        whole.update(bytes.fromhex(subject) + struct.pack("<H", len(held) // 146))
        whole.update(hashlib.sha256(held).digest()[:16])
    return whole.digest()


def second_note(said: Said) -> bytes:
    text = said["text"].encode()
    public, signature = ed25519(said["seed"], text)
    line = b64(key_id(said["name"], b"\x01" + public) + signature)
    return bytes(text + "\n— {} ".format(said["name"]).encode() + line + b"\n")


def second_cosignature(said: Said) -> bytes:
    message = "cosignature/v1\ntime {}\n{}".format(said["at"], said["text"]).encode()
    public, signature = ed25519(said["seed"], message)
    body = key_id(said["name"], b"\x04" + public) + struct.pack(">Q", said["at"]) + signature
    return bytes("— {} ".format(said["name"]).encode() + b64(body) + b"\n")


def second_vkey(said: Said) -> bytes:
    typed = bytes([said["type"]]) + ed25519(said["seed"], b"")[0]
    told = said["name"], key_id(said["name"], typed).hex(), b64(typed).decode()
    return "+".join(told).encode()


def second_promise(said: Said) -> bytes:
    at = struct.pack(">Q", said["at"])
    message = fields(
        b"meterkeep promise v1", said["origin"].encode(), said["entry"], said["leaf_hash"], at
    )
    whole = at + said["leaf_hash"] + ed25519(said["seed"], message)[1]
    return base64.urlsafe_b64encode(whole).rstrip(b"=")


def second_proof(said: Said) -> bytes:
    hashes = [b64(bytes.fromhex(each)) for each in said["hashes"]]
    extra, index = b"extra " + b64(said["leaf"]), b"index %d" % said["index"]
    lines = [b"c2sp.org/tlog-proof@v1", extra, index, *hashes, b"", b""]
    return b"\n".join(lines) + bytes(said["note"].encode())


def second_submission(said: Said) -> bytes:
    hashes = [b64(bytes.fromhex(each)) for each in said["hashes"]]
    return b"\n".join([b"old %d" % said["old"], *hashes, b"", said["note"].encode()])


def second_meter(said: Said) -> bytes:
    numbers = struct.pack(">Q", said["start"]), struct.pack(">Q", said["end"])
    registers = struct.pack(">H", said["registers"])
    return fields(
        b"meterkeep export meter v2" if "entry" in said else b"meterkeep export meter v1",
        said["tag"], said["subject"], registers, *numbers,
        *([said["entry"]] if "entry" in said else []),
    )  # fmt: skip


def second_sample(said: Said) -> bytes:
    def drawn(what: bytes, number: int) -> bytes:
        message = b"meterkeep sample v1" + said["subject"] + what + struct.pack(">I", number)
        return hashlib.sha256(message).digest()

    def number(day: date) -> int:
        return (day - date(1970, 1, 1)).days

    def midnight(day: date) -> int:
        begin = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo("Europe/London"))
        return int(begin.timestamp()) // 1_800

    def of_week(monday: date) -> date:
        week = (number(monday) + 3) // 7
        digest = drawn(b"w", week // 7)
        pieces = [(digest[4 * weekday : 4 * weekday + 4], weekday) for weekday in range(7)]
        return monday + timedelta(days=sorted(pieces)[week % 7][1])

    days = []
    for year in range(2015, 2031):
        first, after = date.fromisocalendar(year, 1, 1), date.fromisocalendar(year + 1, 1, 1)
        weeks = (after - first).days // 7
        weekly = [of_week(first + timedelta(days=7 * week)) for week in range(weeks)]
        if said["text"] == "weekly":
            days += weekly
            continue
        taken: list[int] = []
        for turn in range(int(said["text"].split(":")[1])):
            parts = next(size for size in (1, 2, 4, 8, 16, 32, 64) if size > turn)
            used = [weekly[at].weekday() for at in taken]
            taken.append(min(
                (used.count(weekly[at].weekday()), drawn(b"y", number(weekly[at])), at)
                for at in range(weeks)
                if all(at * parts // weeks != other * parts // weeks for other in taken)
            )[2])  # fmt: skip
        days += [weekly[at] for at in sorted(taken)]
    whole = [
        day for day in days
        if said["from"] <= midnight(day) and midnight(day + timedelta(days=1)) <= said["to"]
    ]  # fmt: skip
    return struct.pack(f">{len(whole)}I", *map(number, whole))


SECOND: dict[str, Callable[[Said], bytes]] = {
    name.removeprefix("second_"): made
    for name, made in list(globals().items())
    if name.startswith("second_")
}

# ---- this program ----------------------------------------------------------------------------


class Ours:
    """Makes the same bytes by the code of the store, its randomness given."""

    def __init__(self, world: World, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.world, self.patch, self.folder = world, patch, folder

    def _drawing(self, *drawn: bytes) -> None:
        given = iter(drawn)
        self.patch.setattr(os, "urandom", lambda size: next(given)[:size])

    def block(self, said: Said) -> bytes:
        energy = np.array([0xFFFF if v is None else v for v in said["values"]], np.uint16)
        states = np.where(energy == 0xFFFF, 0, 1).astype(np.uint8)
        return block.pack(energy[None], states[None])[0]

    def states(self, said: Said) -> bytes:
        states = np.array([said["states"]], np.uint8)
        energy = np.where((states == 1) | (states == 2), 0, 0xFFFF).astype(np.uint16)
        return block.pack(energy, states)[1]

    def aad(self, said: Said) -> bytes:
        return envelope.row_aad(said["store"], said["register"], said["subject"]) + self._head(said)

    def _head(self, said: Said) -> bytes:
        head = np.zeros(1, parquet.HEAD)
        head["day"], head["batch"], head["dek"] = said["day"], said["batch"], said["number"]
        head["states"] = np.frombuffer(said["states"], np.uint8)
        return head.tobytes()

    def box(self, said: Said) -> bytes:
        self._drawing(said["nonce"])
        aad = envelope.row_aad(said["store"], said["register"], said["subject"])
        dek = envelope.cipher(said["dek"])
        box = envelope.seal([envelope.Under(dek, aad, 1)], self._head(said), said["block"])
        assert envelope.unseal(dek, aad, box) == said["block"]
        return box

    def run(self, said: Said) -> bytes:
        digest = envelope.run_digest(said["boxes"])
        run = Run(said["subject"], said["offset"], said["rows"], digest)
        assert Run.decode(run.encode()) == run
        return run.encode()

    def leaf(self, said: Said) -> bytes:
        told = said["entry_values"]
        entry = writer.Entry(
            writer.Kind(told["kind"]), told["action"], told["party"], told["decision"],
            bytes.fromhex(told["policy"]), json.loads(said["plain"]),
        )  # fmt: skip
        detail = writer.canonical(entry.detail)
        assert detail == said["plain"].encode()
        return writer.encode(entry, said["identity"], said["at"] / 1000, said["key"], detail)

    def commitment(self, said: Said) -> bytes:
        return writer.commitment(said["key"], said["plain"].encode())

    def bucket(self, said: Said) -> bytes:
        keys, path = self.world.store.keys, self.folder / "fixed.kek"
        path.write_bytes(said["kek"])
        path.chmod(0o600)
        self.patch.setattr(keys.buckets, "_store", said["store"])
        self.patch.setattr(keys.keks, "_of", {1: FileKek(path)})
        self._drawing(said["bucket_key"], said["nonce"])
        keys.buckets.ensure({said["bucket"]})
        t = tables.bucket_keys
        with self.world.store.database.read() as connection:
            query = select(t.c.wrapped).where(t.c.bucket == said["bucket"])
            return bytes(connection.execute(query).scalar_one())

    def dek_context(self, said: Said) -> bytes:
        keys = self.world.store.keys
        self.patch.setattr(keys.deks, "_store", said["store"])
        return keys.deks.context(said["subject"], said["number"], said["generation"])

    def dek(self, said: Said) -> bytes:
        return bytes(self._new_dek(said)["wrapped"])

    def check(self, said: Said) -> bytes:
        return envelope.check_value(said["dek"], said["store"], said["number"])

    def _new_dek(self, said: Said) -> dict[str, Any]:
        keys = self.world.store.keys
        self.patch.setattr(keys.deks, "_store", said["store"])
        place = bucket_of(said["subject"]), said["generation"]
        kept = {place: (1e9, envelope.cipher(said["bucket_key"]))}
        self.patch.setattr(keys.buckets, "_known", kept)
        self._drawing(said["dek"], said["nonce"])
        with self.world.store.database.read() as connection:
            made, row = keys.deks.new(connection, said["subject"])
            again = keys.deks.open(
                connection, said["subject"], said["number"], said["generation"],
                bytes(row["wrapped"]), bytes(row["check"]),  # type: ignore[call-overload]
            )  # fmt: skip
        assert again.number == made.number == said["number"]
        return dict(row)

    def mpxn(self, said: Said) -> bytes:
        self._drawing(said["nonce"])
        dek = Dek(said["number"], envelope.cipher(said["dek"]))
        return sealed_names.seal(said["subject"], dek, Mpxn(said["text"]))

    def tag(self, said: Said) -> bytes:
        keys = self.world.store.keys
        self.patch.setattr(keys.secrets, "_known", {("lookup", 1): said["lookup"]})
        return keys.tags.of(Mpxn(said["text"]))

    def meter(self, said: Said) -> bytes:
        return meter_leaf(**said)

    def renamed(self, said: Said) -> bytes:
        return renamed(said["tag"], said["lookup"])

    def journal(self, said: Said) -> bytes:
        journal, entry = self.world.store.journal, said["entry_id"]
        self.patch.setattr(journal, "_store", said["store"])
        self.patch.setattr(journal._keys.secrets, "_known", {("journal", 1): said["journal"]})
        self._drawing(said["nonce"])
        journal.keep(entry, json.loads(said["plain"]))
        self.patch.undo()
        return self.world.store.objects.get(f"journal/{entry.hex()}")

    def mark(self, said: Said) -> bytes:
        keys, (first, *rest) = self.world.store.keys, said["values"]
        self.patch.setattr(keys.secrets, "_known", {("facts", 1): said["facts"]})
        if said["text"] == "reseal":
            lists = {"inputs": first, "outputs": rest[0], "resealed": rest[1]}
            return bytes.fromhex(Marks(keys).of_resealed(lists))
        return bytes.fromhex(Marks(keys).of(said["text"], (bytes.fromhex(first), *rest)))

    def handle(self, said: Said) -> bytes:
        keys = self.world.store.keys
        self.patch.setattr(keys.secrets, "_known", {("handle", 1): said["handle"]})
        handle = keys.handles.of(Mpxn(said["text"]), said["party"])
        assert keys.handles.open(handle, said["party"]).text == said["text"]
        return handle.encode()

    def rejected(self, said: Said) -> bytes:
        quarantine: Quarantine = self.world.store.quarantine
        self.patch.setattr(quarantine, "_store", said["store"])
        context = quarantine._context(
            said["digest"], said["profile"], said["reason"], said["first_line"]
        )
        self._drawing(said["nonce"])
        key = envelope.cipher(said["quarantine"])
        return envelope.wrap(key, said["plain"].encode(), context)

    def bundle(self, said: Said) -> bytes:
        leaves = [bytes.fromhex(leaf) for leaf in said["leaves"]]
        made = tiles.encode_bundle(leaves)
        assert tiles.decode_bundle(made) == leaves
        return made

    def rows(self, said: Said) -> bytes:
        runs = []
        for subject, boxes in said["runs"]:
            held = bytes.fromhex(boxes)
            digest = envelope.run_digest(held)
            runs.append(Run(bytes.fromhex(subject), 77, len(held) // 146, digest).encode())
        return rows_digest(runs)

    def note(self, said: Said) -> bytes:
        signer = Signer(said["name"], said["seed"])
        note = sign_note(said["text"], [signer])
        assert open_note(note, [signer.verifier]).text == said["text"]
        return note

    def cosignature(self, said: Said) -> bytes:
        signer = Signer(said["name"], said["seed"], Algorithm.COSIGNATURE)
        return signer.line(said["text"], said["at"]).encode()

    def vkey(self, said: Said) -> bytes:
        signer = Signer(said["name"], said["seed"], Algorithm(said["type"]))
        assert Verifier.parse(signer.verifier.vkey) == signer.verifier
        return signer.verifier.vkey.encode()

    def promise(self, said: Said) -> bytes:
        signer, entry, hashed = (
            Signer(said["origin"], said["seed"]),
            said["entry"],
            said["leaf_hash"],
        )
        signed = signer.sign_bytes(promised(said["origin"], entry, hashed, said["at"]))
        promise = Promise(entry, said["at"], hashed, signed)
        promise.check(signer.verifier)
        assert Promise.parse(f"{entry.hex()}:{promise.text}") == promise
        return promise.text.encode()

    def proof(self, said: Said) -> bytes:
        hashes = tuple(bytes.fromhex(each) for each in said["hashes"])
        file = ProofFile(said["index"], hashes, said["note"].encode(), said["leaf"])
        assert ProofFile.decode(file.encode()) == file
        return file.encode()

    def sample(self, said: Said) -> bytes:
        window = Window(said["from"], said["to"])
        days = Sample.parse(said["text"]).days(said["subject"], window)
        return b"".join(day_of(day).to_bytes(4, "big") for day in days)

    def submission(self, said: Said) -> bytes:
        hashes = [bytes.fromhex(each) for each in said["hashes"]]
        made = Submission(said["old"], hashes, said["note"].encode())
        assert Submission.decode(made.encode()) == made
        return made.encode()


EACH = [
    pytest.param(kind, at, id=f"{kind}-{vector['says']}")
    for kind, vectors in VECTORS.items()
    for at, vector in enumerate(vectors)
]


@pytest.mark.parametrize(("kind", "at"), EACH)
def test_this_program_makes_the_frozen_bytes(
    home: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, at: int
) -> None:
    vector = VECTORS[kind][at]
    with monkeypatch.context() as patch:
        made = getattr(Ours(home, patch, tmp_path), kind)(hexed(vector["given"]))
    assert made.hex() == vector["bytes"]


@pytest.mark.parametrize(("kind", "at"), EACH)
def test_a_second_program_makes_the_frozen_bytes(kind: str, at: int) -> None:
    vector = VECTORS[kind][at]
    assert SECOND[kind](hexed(vector["given"])).hex() == vector["bytes"]


def test_every_format_has_its_vectors() -> None:
    assert set(VECTORS) == set(SECOND)
    assert all(VECTORS.values())
