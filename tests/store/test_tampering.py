"""Somebody changes what is kept. The store answers nothing from it, and says so.

First the objects alone are changed: the digest of the run tells. Then the attacker holds the
catalogue too and mends the digest: the seal tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from sqlalchemy import select, update

from store import envelope, tables
from store.envelope import BOX_SIZE, run_digest
from store.errors import KekError, ObjectError, TamperedError
from store.keepers.local import FileKek
from store.keys.bucket_keys import bucket_of
from store.lake.runs import RUN_SIZE, Run
from store.reads import Register, Window
from store.settings import Settings
from tests.world import DAY, World, days_of, mpan, opened, several, window_of

HOME, OTHER = mpan(1), mpan(2)
ALL_OF_IT = Window(0, 65_536 * 48)  # every day that a box can name: a moved one shows too


def subject_of(world: World, number: int) -> bytes:
    """Return the subject who lives at the ``number``-th meter point."""
    [part] = world.grant(mpan(number), window_of(DAY)).parts
    return part.subject


def runs_of(world: World, name: str) -> dict[bytes, Run]:
    """Return the run index of a file, by subject."""
    with world.store.database.read() as connection:
        [file] = [f for f in world.store.catalogue.live(connection) if f.name == name]
        return {run.subject: run for run in world.store.catalogue.index_of(connection, file)}


def box_at(world: World, name: str, subject: bytes, row: int = 0) -> bytes:
    at = runs_of(world, name)[subject].offset + row * BOX_SIZE
    return world.steal(name)[at : at + BOX_SIZE]


def put_box(world: World, name: str, subject: bytes, box: bytes, *, row: int = 0) -> None:
    """Put ``box`` in the place of a row of ``subject``; the run index stays as it is."""
    put_at(world, name, runs_of(world, name)[subject].offset + row * BOX_SIZE, box)


def put_at(world: World, name: str, at: int, box: bytes) -> None:
    body = bytearray(world.steal(name))
    body[at : at + BOX_SIZE] = box
    world.forge(name, bytes(body))


def flipped(box: bytes, at: int) -> bytes:
    return box[:at] + bytes([box[at] ^ 4]) + box[at + 1 :]


def mend_digest(world: World, name: str, subject: bytes) -> None:
    """Let the run index say that the rows of ``subject`` are what they should be."""
    f, r = tables.files, tables.runs
    with world.store.database.write() as connection:
        query = select(r.c.file, r.c.first, r.c.page).join(f, f.c.id == r.c.file)
        for file, first, page in connection.execute(query.where(f.c.name == name)).all():
            entries = [Run.decode(page[at : at + RUN_SIZE]) for at in range(0, len(page), RUN_SIZE)]
            body = world.steal(name)
            mended = b"".join(
                Run(
                    run.subject,
                    run.offset,
                    run.rows,
                    run_digest(body[run.offset : run.offset + run.rows * BOX_SIZE])
                    if run.subject == subject
                    else run.digest,
                ).encode()
                for run in entries
            )
            connection.execute(
                update(r).where(r.c.file == file, r.c.first == first).values(page=mended)
            )


def alarm(world: World, what: str, number: int = 1) -> None:
    """See that a read of the ``number``-th home is an alarm."""
    with pytest.raises(TamperedError) as raised:
        world.reads(mpan(number), window_of(DAY, 40))
    assert raised.value.what == what


@pytest.fixture
def street(home: World) -> World:
    """Two homes with two days each, in one file; the reader may read both."""
    home.keep(
        several(
            days_of(HOME, (DAY, [1]), (DAY + 1, [2])),
            days_of(OTHER, (DAY, [3]), (DAY + 1, [4])),
        )
    )
    home.allow(HOME)
    home.allow(OTHER)
    return home


def test_no_byte_of_a_kept_row_can_be_flipped(street: World) -> None:
    [name], subject = street.live(), subject_of(street, 1)
    genuine = box_at(street, name, subject)
    for at in range(BOX_SIZE):
        put_box(street, name, subject, flipped(genuine, at))
        alarm(street, "run")
    put_box(street, name, subject, genuine)
    assert street.reads(HOME, window_of(DAY))[0] == 1


def test_nor_by_one_who_mends_the_run_index(street: World) -> None:
    [name], subject = street.live(), subject_of(street, 1)
    genuine, offset = box_at(street, name, subject), runs_of(street, name)[subject].offset
    for at in range(BOX_SIZE):
        put_at(street, name, offset, flipped(genuine, at))
        mend_digest(street, name, subject)
        with pytest.raises(TamperedError) as raised:
            street.answer(HOME, ALL_OF_IT)
        # A batch that never was is noticed before the box is opened.
        assert raised.value.what == ("batch" if 2 <= at < 6 else "box"), at


def test_a_row_of_a_neighbour_does_not_open(street: World) -> None:
    [name] = street.live()
    mine, theirs = subject_of(street, 1), subject_of(street, 2)
    put_box(street, name, mine, box_at(street, name, theirs))
    alarm(street, "run")
    mend_digest(street, name, mine)
    alarm(street, "box")
    assert street.reads(OTHER, window_of(DAY))[0] == 3


def test_a_row_of_another_register_does_not_open(home: World) -> None:
    home.keep(
        several(
            days_of(HOME, (DAY, [1])),
            days_of(HOME, (DAY, [2]), register=Register.ACTIVE_IMPORT_SECONDARY),
        )
    )
    home.allow(HOME)
    subject, names = subject_of(home, 1), home.live()
    first, second = (box_at(home, name, subject) for name in names)
    put_box(home, names[0], subject, second)
    mend_digest(home, names[0], subject)
    put_box(home, names[1], subject, first)
    mend_digest(home, names[1], subject)
    alarm(home, "box")


def test_a_row_of_another_store_does_not_open(
    home: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Even where that store was given this one's keys: the store's id is in the seal."""
    home.keep(days_of(HOME, (DAY, [1])))
    home.allow(HOME)
    [name], subject = home.live(), subject_of(home, 1)
    box = box_at(home, name, subject)
    with home.store.database.read() as connection:
        deks = home.store.reads._planner._tenancies.all_deks(connection, [subject])
    here = envelope.row_aad(home.store.identity, 1, subject)
    assert envelope.unseal(deks[subject][1].key, here, box)
    there = envelope.row_aad(b"another store's ", 1, subject)
    with pytest.raises(TamperedError):
        envelope.unseal(deks[subject][1].key, there, box)


@pytest.mark.parametrize("compacted", [False, True])
def test_an_older_genuine_row_in_place_of_the_newest_is_an_alarm(
    home: World, compacted: bool
) -> None:
    home.keep(days_of(HOME, (DAY, [10])))
    home.keep(days_of(HOME, (DAY, [20])))
    home.allow(HOME)
    if compacted:
        home.compact()
    subject, names = subject_of(home, 1), home.live()
    old = box_at(home, names[0], subject)
    put_box(home, names[-1], subject, old, row=1 if compacted else 0)
    alarm(home, "run")


def test_a_file_rolled_back_to_an_older_one_is_an_alarm(home: World) -> None:
    home.keep(days_of(HOME, (DAY, [10])))
    home.keep(days_of(HOME, (DAY, [20])))
    home.allow(HOME)
    old, new = home.live()
    home.forge(new, home.steal(old))
    alarm(home, "run")


def test_two_files_in_each_others_place_are_an_alarm(world: World) -> None:
    world.keep(days_of(HOME, (DAY, [10])), days_of(OTHER, (DAY, [20])))
    world.allow(HOME)
    world.allow(OTHER)
    first, second = world.live()
    bodies = world.steal(first), world.steal(second)
    world.forge(first, bodies[1])
    world.forge(second, bodies[0])
    alarm(world, "run")
    alarm(world, "run", 2)


def test_a_file_cut_short_is_no_answer(world: World) -> None:
    world.keep(days_of(HOME, (DAY, [10]), (DAY + 1, [11])))
    world.allow(HOME)
    [name], subject = world.live(), subject_of(world, 1)
    end = runs_of(world, name)[subject].offset + 2 * BOX_SIZE
    world.forge(name, world.steal(name)[: end - 1])
    with pytest.raises(ObjectError):
        world.reads(HOME, window_of(DAY))


def test_a_run_whose_last_row_is_gone_is_an_alarm(world: World) -> None:
    """The newest row is cut off and the footer moved up: the run is shorter than was committed."""
    world.keep(days_of(HOME, (DAY, [10]), (DAY + 1, [11])))
    world.allow(HOME)
    [name], subject = world.live(), subject_of(world, 1)
    body, run = world.steal(name), runs_of(world, name)[subject]
    cut = run.offset + BOX_SIZE
    world.forge(name, body[:cut] + body[cut + BOX_SIZE :])
    alarm(world, "run")


def test_a_run_index_cut_short_is_an_alarm_of_compaction(home: World) -> None:
    home.keep(days_of(HOME, (DAY, [10]), (DAY + 1, [11])))
    with home.store.database.write() as connection:
        page = connection.execute(select(tables.runs.c.page)).scalar_one()
        connection.execute(update(tables.runs).values(page=page[:22] + b"\x01\0" + page[24:]))
    with pytest.raises(TamperedError) as raised:
        home.compact()
    assert raised.value.what == "index"


def test_a_missing_file_is_no_answer_and_coverage_neither(world: World) -> None:
    world.keep(days_of(HOME, (DAY, [10])))
    world.allow(HOME)
    [name] = world.live()
    world.store.objects.delete(name)
    with pytest.raises(ObjectError):
        world.reads(HOME, window_of(DAY))
    with pytest.raises(ObjectError):
        asyncio.run(world.store.reads.coverage(world.grant(HOME, window_of(DAY))))
    world.store.objects.delete(name)


def test_compaction_copies_no_row_that_was_changed(street: World) -> None:
    [name], subject = street.live(), subject_of(street, 1)
    box = box_at(street, name, subject)
    put_box(street, name, subject, box[:-1] + bytes([box[-1] ^ 1]))
    with pytest.raises(TamperedError):
        street.compact()
    assert street.live() == [name]
    assert street.names() == {name}


# ---- the key register ------------------------------------------------------------------------


def change_dek(world: World, subject: bytes, **values: Any) -> None:
    with world.store.database.write() as connection:
        connection.execute(
            update(tables.deks).where(tables.deks.c.subject == subject).values(**values)
        )


def dek_row(world: World, subject: bytes) -> dict[str, Any]:
    with world.store.database.read() as connection:
        query = select(tables.deks).where(tables.deks.c.subject == subject)
        return dict(connection.execute(query).mappings().one())


def test_a_wrapped_key_moved_to_another_subject_does_not_open(street: World) -> None:
    mine, theirs = subject_of(street, 1), subject_of(street, 2)
    row = dek_row(street, theirs)
    change_dek(street, mine, wrapped=row["wrapped"], check=row["check"])
    alarm(street, "dek")


def test_another_key_under_the_right_wrapping_is_told_by_its_check_value(street: World) -> None:
    """An insider wraps a key of his own choice: no ciphertext opens to two histories."""
    subject, keys = subject_of(street, 1), street.store.keys
    with street.store.database.read() as connection:
        bucket = keys.buckets.of(connection, int.from_bytes(subject[:2], "big") >> 4, 1)
    forged = envelope.wrap(bucket, b"f" * 32, keys.deks.context(subject, 1, 1))
    change_dek(street, subject, wrapped=forged)
    alarm(street, "dek")


def test_a_changed_check_value_is_an_alarm(street: World) -> None:
    subject = subject_of(street, 1)
    check = dek_row(street, subject)["check"]
    change_dek(street, subject, check=check[:-1] + bytes([check[-1] ^ 1]))
    alarm(street, "dek")


def test_a_key_under_another_number_is_an_alarm(street: World) -> None:
    change_dek(street, subject_of(street, 1), number=2)
    alarm(street, "dek")


def test_a_lost_bucket_key_is_an_alarm_and_not_made_anew(
    street: World, folder_settings: Settings
) -> None:
    with street.store.database.write() as connection:
        connection.execute(tables.bucket_keys.delete())
    with opened(folder_settings) as cold:
        cold.parties = street.parties
        alarm(cold, "bucket")


def move_buckets(world: World) -> None:
    """Put each bucket's wrapped key in another bucket's place."""
    t = tables.bucket_keys
    with world.store.database.write() as connection:
        rows = list(connection.execute(select(t.c.bucket, t.c.wrapped)))
        assert len(rows) > 1
        for (bucket, _), (_, wrapped) in zip(rows, rows[1:] + rows[:1], strict=True):
            connection.execute(update(t).where(t.c.bucket == bucket).values(wrapped=wrapped))


def test_a_bucket_key_moved_to_another_bucket_does_not_open(
    world: World, settings: Settings
) -> None:
    world.keep(*(days_of(mpan(number), (DAY, [1])) for number in range(1, 6)))
    world.allow(HOME)
    world.grant(HOME, window_of(DAY))
    world.store.keys.buckets.ensure({bucket_of(subject_of(world, 1)) ^ 1})  # all may be in one
    move_buckets(world)
    with opened(settings) as cold:
        cold.parties = world.parties
        with pytest.raises(KekError):
            cold.reads(HOME, window_of(DAY))


def test_a_context_that_the_keeper_confuses_is_told_by_what_was_bound(
    cloud_settings: Settings,
) -> None:
    """An emulated KMS joins its context without a separator; so may another one."""
    kms, key = boto3.client("kms"), cloud_settings.kek.removeprefix("aws-kms:")
    with opened(cloud_settings) as world:
        world.keep(days_of(HOME, (DAY, [1])))
        world.allow(HOME)
        keys, bucket = world.store.keys, subject_of(world, 1)
        number = int.from_bytes(bucket[:2], "big") >> 4
        right = keys.buckets.context(number, 1)
        elsewhere = envelope.bind(b"b" * 32, keys.buckets.context(number ^ 1, 1))
        confused = kms.encrypt(
            KeyId=key,
            Plaintext=elsewhere,
            EncryptionContext={"meterkee": "p" + right.hex()},
        )["CiphertextBlob"]
        plain = kms.decrypt(CiphertextBlob=confused, EncryptionContext={"meterkeep": right.hex()})[
            "Plaintext"
        ]
        assert plain == elsewhere, "this keeper does not confuse contexts: find another attack"
        with world.store.database.write() as connection:
            connection.execute(
                update(tables.bucket_keys)
                .where(tables.bucket_keys.c.bucket == number)
                .values(wrapped=confused)
            )
        with opened(cloud_settings) as cold:
            cold.parties = world.parties
            with pytest.raises(KekError):
                cold.reads(HOME, window_of(DAY))


def test_another_kek_is_told_at_the_door(settings: Settings, tmp_path: Any) -> None:
    if settings.kek.startswith("aws-kms:"):
        other = "aws-kms:" + boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
    else:
        FileKek.create(tmp_path / "other.kek")
        other = str(tmp_path / "other.kek")
    with opened(settings):
        pass  # the store's secrets are made at the first opening
    with pytest.raises(KekError) as told, opened(replace(settings, kek=other)):
        pass
    assert told.value.code == "kek_unavailable"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"short"),
        lambda path: path.write_bytes(b""),
        lambda path: path.chmod(0o644),
    ],
    ids=["gone", "short", "empty", "open to others"],
)
def test_a_spoilt_key_file_is_told_at_the_door(
    folder_settings: Settings, spoil: Callable[[Any], None]
) -> None:
    spoil(Path(folder_settings.kek))
    with pytest.raises(KekError) as told, opened(folder_settings):
        pass
    assert folder_settings.kek not in str(told.value)


def test_a_copy_of_the_folder_opens_nothing(home: World, folder_settings: Settings) -> None:
    """The key file lies beside the folder: who carries the folder away carries no key."""
    home.keep(days_of(HOME, (DAY, [1])))
    inside = [p for p in folder_settings.home.rglob("*") if p.is_file()]
    key = Path(folder_settings.kek).read_bytes()
    assert len(inside) > 1
    assert all(key not in path.read_bytes() for path in inside)
