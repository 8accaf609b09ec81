"""Keys are renewed while answers go on: KEK, bucket keys, DEKs, the lookup key."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, update

from store import jobs, tables
from store.errors import (
    CommitConflictError,
    InputError,
    KekError,
    MeterkeepError,
    RefusedError,
    TamperedError,
)
from store.facts.door import Supply
from store.keepers.local import FileKek
from store.keys import tags
from store.keys.bucket_keys import bucket_of
from store.log.writer import Kind
from store.reads import Register, Window
from store.rekeying.renaming import SETTLED
from store.settings import Settings
from store.writing.quarantine import Rejected
from tests.store.audit.test_index import leaves_of
from tests.world import ALL, DAY, FakeClock, World, days_of, mpan, opened, several, window_of

HOME, OTHER, GONE = mpan(1), mpan(2), mpan(3)
WINDOW = window_of(DAY)
FULL = list(range(48))


@pytest.fixture
def kept(world: World) -> World:
    """Two homes with reads, a third one erased; the reader may read the first."""
    world.keep(several(*(days_of(one, (DAY, FULL)) for one in (HOME, OTHER, GONE))))
    world.keep(days_of(HOME, (DAY, [100])))
    world.allow(HOME)
    world.allow(GONE)
    world.store.facts.erase([GONE], "asked to")
    return world


def follower(settings: Settings, folder: Path) -> Settings:
    """Return the settings of a process that is given the KEK that is to follow, too."""
    if settings.kek.startswith("aws-kms:"):
        key = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
        return replace(settings, kek_next=f"aws-kms:{key}")
    FileKek.create(folder / "next.kek")
    return replace(settings, kek_next=str(folder / "next.kek"))


def answers(world: World) -> None:
    assert world.reads(HOME, WINDOW) == [100, *FULL[1:]]
    assert world.reads(HOME, WINDOW, as_of=1) == FULL
    with pytest.raises(RefusedError) as refused:
        world.grant(GONE, WINDOW)
    assert refused.value.code == "erased"


def column(world: World, which: Any) -> list[Any]:
    with world.store.database.read() as connection:
        return list(connection.execute(select(which)).scalars())


# ---- the KEK -------------------------------------------------------------------------------------


def test_a_kek_is_rotated_and_the_old_one_is_needed_no_more(
    settings: Settings, clock: FakeClock, tmp_path: Path
) -> None:
    both = follower(settings, tmp_path)
    assert both.kek_next is not None
    with opened(settings, clock) as world:
        world.keep(several(days_of(HOME, (DAY, FULL)), days_of(GONE, (DAY, FULL))))
        world.keep(days_of(HOME, (DAY, [100])))
        world.allow(HOME)
        world.allow(GONE)
        world.store.facts.erase([GONE], "asked to")
        people = world.parties
    with opened(both, clock) as world, opened(both, clock) as worker:
        worker.parties = people
        answers(worker)
        done = world.store.rotation.kek()
        assert done.generation == 2
        assert done.keys == world.count(tables.secrets) + world.count(tables.bucket_keys)
        answers(worker)
        worker.keep(days_of(OTHER, (DAY, FULL)))  # what is made from now on is under the new one
        assert set(column(world, tables.bucket_keys.c.kek)) == {2}
        assert [one.ended is None for one in world.store.keks.epochs()] == [False, True]
        assert world.store.rotation.kek().keys == 0  # twice is harmless
        assert world.store.rotation.kek().generation == 2
    with opened(replace(both, kek=both.kek_next, kek_next=None), clock) as world:
        world.parties = people
        answers(world)
        world.keep(days_of(mpan(9), (DAY, FULL)))


def test_the_old_kek_alone_opens_nothing_after_it(
    folder_settings: Settings, clock: FakeClock, tmp_path: Path
) -> None:
    both = follower(folder_settings, tmp_path)
    with opened(both, clock) as world:
        world.keep(days_of(HOME, (DAY, FULL)))
        world.store.rotation.kek()
    with pytest.raises(KekError), opened(folder_settings, clock):
        pass


def test_a_rotation_without_a_kek_to_follow_is_refused(home: World) -> None:
    with pytest.raises(InputError) as refused:
        home.store.rotation.kek()
    assert refused.value.code == "no_next_kek"
    assert len(home.store.keks.epochs()) == 1


def test_a_key_made_under_the_old_kek_while_it_ends_is_not_left_behind(
    folder_settings: Settings, clock: FakeClock, tmp_path: Path
) -> None:
    """The slow writer wrapped before the rotation began and inserts after it ended."""
    with opened(follower(folder_settings, tmp_path), clock) as world:
        keys, wrap = world.store.keys, world.store.keks.wrap

        def slow(epoch: int, secret: bytes, context: bytes) -> bytes:
            wrapped = wrap(epoch, secret, context)
            if b"bucket" in context and epoch == 1:
                world.store.keks.wrap = wrap  # type: ignore[method-assign]
                assert world.store.rotation.kek().generation == 2
            return wrapped

        world.store.keks.wrap = slow  # type: ignore[method-assign]
        with pytest.raises(CommitConflictError):
            keys.buckets.ensure({7})
        assert world.count(tables.bucket_keys) == 0
        keys.buckets.ensure({7})
        assert column(world, tables.bucket_keys.c.kek) == [2]


# ---- bucket keys ---------------------------------------------------------------------------------


def test_bucket_keys_are_rotated_and_the_old_ones_are_gone(kept: World) -> None:
    before = set(column(kept, tables.bucket_keys.c.wrapped))
    done = kept.store.rotation.buckets()
    assert (done.generation, done.keys) == (2, 2)
    assert set(column(kept, tables.bucket_keys.c.generation)) == {2}
    assert set(column(kept, tables.deks.c.generation)) == {2}
    assert before.isdisjoint(column(kept, tables.bucket_keys.c.wrapped))
    answers(kept)
    with opened(kept.store.settings, kept.clock) as worker:  # from the register alone
        worker.parties = kept.parties
        answers(worker)
        worker.keep(days_of(HOME, (DAY + 1, FULL)))
    assert kept.store.rotation.buckets().generation == 3
    answers(kept)


def test_one_bucket_is_rotated_and_the_others_stay(kept: World) -> None:
    one = column(kept, tables.deks.c.subject)[0]
    kept.store.rotation.buckets([bucket_of(one)])
    with kept.store.database.read() as connection:
        rows = connection.execute(select(tables.deks.c.subject, tables.deks.c.generation)).all()
    assert dict(map(tuple, rows)) == {
        subject: 1 + (bucket_of(subject) == bucket_of(one)) for subject, _ in rows
    }  # chance may have put others into its bucket
    answers(kept)
    for wrong in ([4096], [-1], [next(b for b in range(4096) if b not in
                  column(kept, tables.bucket_keys.c.bucket))]):  # fmt: skip
        with pytest.raises(InputError) as refused:
            kept.store.rotation.buckets(wrong)
        assert refused.value.code == "unknown_bucket"
    assert kept.count(tables.jobs) == 0


def test_a_dek_made_under_the_old_bucket_key_while_it_goes_is_made_anew(
    home: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow writer wrapped a DEK before the bucket's rotation and inserts after it."""
    keys = home.store.keys
    hold = keys.buckets.hold
    monkeypatch.setattr(os, "urandom", lambda size: bytes([7]) * size)  # one bucket for all
    keys.buckets.ensure({bucket_of(bytes([7] * 16))})
    monkeypatch.undo()
    rotated: list[int] = []
    inner = home.store.quarantine._tenancies
    make = inner._keys.deks.new

    def slow(connection: Any, subject: bytes, number: int = 1) -> Any:
        made = make(connection, subject, number)
        if not rotated:
            rotated.append(home.store.rotation.buckets([bucket_of(subject)]).generation)
        return made

    monkeypatch.setattr(keys.deks, "new", slow)
    home.keep(days_of(HOME, (DAY, FULL)))
    assert rotated == [2]
    assert hold is keys.buckets.hold
    home.allow(HOME)
    assert home.reads(HOME, WINDOW) == FULL


def test_two_operators_rotate_at_once_and_one_is_told(kept: World) -> None:
    with opened(kept.store.settings, kept.clock) as other:
        job = jobs.take(
            other.store.database, other.clock, "rotate bucket", {"only": None, "past": -1}
        )
        with pytest.raises(CommitConflictError) as conflict:
            kept.store.rotation.buckets()
        assert conflict.value.code == "job_under_way"
        kept.clock.pass_by(jobs.LEASE + 1)  # the other died
        assert kept.store.rotation.buckets().generation == 2
        with pytest.raises(CommitConflictError), other.store.database.write() as connection:
            job.beat(connection)  # it did not die: what it does from here on fails whole


def test_a_clock_that_steps_back_lets_nobody_in_twice(kept: World) -> None:
    job = jobs.take(kept.store.database, kept.clock, "rotate bucket", {"only": None, "past": -1})
    kept.clock.time -= 10_000
    with pytest.raises(CommitConflictError):
        kept.store.rotation.buckets()
    with kept.store.database.write() as connection:
        job.beat(connection)
        job.done(connection)
    assert kept.store.rotation.buckets().generation == 2


# ---- DEKs ----------------------------------------------------------------------------------------


def subject_of(world: World, one: Any) -> bytes:
    with world.store.database.read() as connection:
        [tenancy] = world.store.facts.tenancies_of(connection, one)
    assert tenancy.subject is not None
    return tenancy.subject


def test_a_customer_is_resealed_and_says_the_same_of_every_moment(kept: World) -> None:
    line = Rejected(5, "bad_value", "a refused line", HOME)
    kept.keep(days_of(OTHER, (DAY + 1, FULL)), rejected=[line])
    subject, files = subject_of(kept, HOME), kept.live()
    stolen = {name: kept.steal(name) for name in files}
    old = kept.store.quarantine._tenancies
    with kept.store.database.read() as connection:
        [before] = old.all_deks(connection, [subject])[subject].items()
    done = kept.store.resealing.run([subject])
    assert (done.subjects, done.files, done.rows) == (1, 2, 2)
    answers(kept)
    with kept.store.database.read() as connection:
        [after] = old.all_deks(connection, [subject])[subject].items()
    assert (before[0], after[0]) == (1, 2)
    assert kept.store.quarantine.show(1)[2] == [(5, "a refused line")]
    kept.clock.pass_by(10_000)
    kept.store.compaction.sweep()
    assert not kept.names() & {name for name in stolen if name not in kept.live()}
    answers(kept)
    kept.compact()
    answers(kept)
    kept.keep(days_of(HOME, (DAY, [7])))
    assert kept.reads(HOME, WINDOW) == [7, *FULL[1:]]


def test_a_delivery_under_way_is_sealed_under_the_new_key_or_not_at_all(kept: World) -> None:
    subject = subject_of(kept, HOME)

    def parts() -> Iterator[Any]:
        yield days_of(HOME, (DAY + 2, FULL))
        kept.store.resealing.run([subject])

    with pytest.raises(CommitConflictError):
        kept.store.writes.commit(parts(), [])
    kept.keep(days_of(HOME, (DAY + 2, FULL)))
    assert kept.reads(HOME, window_of(DAY + 2)) == FULL


def test_a_compaction_in_between_loses_nothing(
    kept: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = subject_of(kept, HOME)
    swap = kept.store.resealing._swap

    def late(*parts: Any) -> None:
        monkeypatch.undo()
        kept.compact()
        swap(*parts)

    monkeypatch.setattr(kept.store.resealing, "_swap", late)
    kept.store.resealing.run([subject])
    answers(kept)
    assert kept.count(tables.jobs) == 0


def test_a_row_that_was_changed_stops_the_resealing_and_the_old_key_stays(home: World) -> None:
    home.keep(days_of(HOME, (DAY, FULL)))
    home.allow(HOME)
    [name] = home.live()
    body = bytearray(home.steal(name))
    body[100] ^= 1
    home.forge(name, bytes(body))
    with pytest.raises(TamperedError):
        home.store.resealing.run([subject_of(home, HOME)])
    body[100] ^= 1
    home.forge(name, bytes(body))
    assert home.reads(HOME, WINDOW) == FULL  # both keys are there
    assert home.store.resealing.run([]).subjects == 1  # the next run ends it
    assert home.reads(HOME, WINDOW) == FULL


def test_a_leaf_tells_what_each_run_was_and_is(kept: World) -> None:
    kept.store.resealing.run([subject_of(kept, HOME)])
    said = [detail for _, _, leaf, detail in leaves_of(kept) if b'"keys reseal"' in leaf]
    assert len(said) == 2
    assert all(f'"{subject_of(kept, HOME).hex()}"' in str(one) for one in said)


# ---- the lookup key ------------------------------------------------------------------------------


def rename(world: World, pause: Callable[[float], object] = lambda _: None) -> int:
    return world.store.renaming.run(pause=pause).generation


def facts_of_all_kinds(world: World) -> None:
    supplier = world.party("supplier", "IS")
    world.store.facts.add_registrations([Supply(HOME, supplier, "IS", "microbusiness", ALL)])
    world.store.facts.choose(HOME, supplier, "PT30M", "opt-in")
    consent = world.allow(OTHER)
    world.store.facts.withdraw_consent(consent)
    world.store.facts.add_registrations(
        [Supply(mpan(77), supplier, "IS", "domestic", Window(0, 99))]  # nothing is kept of it
    )


def test_a_lookup_key_is_rotated_and_every_fact_holds(kept: World) -> None:
    facts_of_all_kinds(kept)
    old = set(column(kept, tables.tenancies.c.tag))
    assert rename(kept) == 2
    for table in (*tags.NAMED, tables.consent_events):
        assert {tags.generation_of(tag) for tag in column(kept, table.c.tag)} == {2}, table.name
    assert old.isdisjoint(column(kept, tables.tenancies.c.tag))
    answers(kept)
    assert kept.reads(HOME, WINDOW, name="supplier", role="IS") == [100, *FULL[1:]]
    with pytest.raises(RefusedError) as refused:
        kept.grant(OTHER, WINDOW)
    assert refused.value.code == "consent_withdrawn"
    with kept.store.database.read() as connection:
        rebuilt = kept.store.facts.lives.rows.rebuilt(connection)
        rows = connection.execute(select(tables.consents)).mappings().all()
    assert {row["id"]: (row["tag"], row["entry"]) for row in rows} == {
        name: (one["tag"], one["entry"]) for name, one in rebuilt.items()
    }
    kept.keep(days_of(GONE, (DAY, FULL)))  # a tombstone keeps the erased customer out still
    with pytest.raises(RefusedError):
        kept.grant(GONE, WINDOW)
    assert rename(kept) == 3
    answers(kept)
    assert len(kept.store.facts.registrations.listing(mpan(77))) == 1


def test_every_question_is_answered_at_every_moment_of_the_rotation(
    kept: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts_of_all_kinds(kept)
    for number in range(10, 40):
        kept.keep(days_of(mpan(number), (DAY, [number])))
        kept.allow(mpan(number))
    monkeypatch.setattr("store.rekeying.renaming._AT_ONCE", 7)
    with opened(kept.store.settings, kept.clock) as worker:
        worker.parties = kept.parties
        answers(worker)
        turns: list[int] = []
        move = kept.store.renaming._some

        def between(*parts: Any) -> Any:
            moved = move(*parts)
            turns.append(moved[0])
            return moved

        def settled(seconds: float) -> None:
            assert seconds == SETTLED > 2 * tags.LIFE
            kept.clock.pass_by(seconds)

        portions = kept.store.renaming._portions

        def looking(*parts: Any) -> Iterator[int]:
            for count in portions(*parts):
                answers(worker)
                for number in range(10, 40):
                    assert worker.reads(mpan(number), WINDOW)[0] == number
                worker.keep(days_of(mpan(100 + len(turns)), (DAY, [1])))
                worker.keep(days_of(mpan(10), (DAY + 1, [1])))
                yield count

        monkeypatch.setattr(kept.store.renaming, "_some", between)
        monkeypatch.setattr(kept.store.renaming, "_portions", looking)
        rename(kept, settled)
        assert len(turns) >= 5
        answers(worker)
        named = column(kept, tables.tenancies.c.tag)
        assert {tags.generation_of(tag) for tag in named} == {2}
        assert len(named) == len({*named})
        assert kept.reads(mpan(10), window_of(DAY + 1))[0] == 1


def test_a_commit_that_began_before_the_rotation_sees_a_move_made_within_it(kept: World) -> None:
    def parts() -> Iterator[Any]:
        yield days_of(HOME, (DAY + 3, FULL))
        kept.store.facts.add_tenancy(HOME, (DAY + 3) * 48 + 46)
        rename(kept)

    with pytest.raises(CommitConflictError):
        kept.store.writes.commit(parts(), [])
    kept.keep(days_of(HOME, (DAY + 3, FULL)))


def test_a_commit_lives_through_a_rotation_that_nobody_moved_in(kept: World) -> None:
    def parts() -> Iterator[Any]:
        yield days_of(HOME, (DAY + 3, FULL))
        kept.store.facts.add_tenancy(OTHER, (DAY + 3) * 48 + 46)
        rename(kept)

    assert kept.store.writes.commit(parts(), []).days == 1


def test_a_forged_fact_is_renamed_and_counts_for_nothing_still(home: World) -> None:
    home.keep(days_of(HOME, (DAY, FULL)))
    home.allow(HOME, Window(0, 48))
    with home.store.database.write() as connection:
        connection.execute(update(tables.consents).values(end=None))
    rename(home)
    assert {tags.generation_of(tag) for tag in column(home, tables.consents.c.tag)} == {2}
    with pytest.raises(TamperedError):
        home.grant(HOME, WINDOW)


def test_a_rotation_that_died_is_ended_by_the_next_one(
    kept: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts_of_all_kinds(kept)
    monkeypatch.setattr("store.rekeying.renaming._AT_ONCE", 1)
    portions = kept.store.renaming._portions

    def dying(*parts: Any) -> Iterator[int]:
        for at, count in enumerate(portions(*parts)):
            if at == 1:
                raise MeterkeepError("died")
            yield count

    with monkeypatch.context() as patch:
        patch.setattr(kept.store.renaming, "_portions", dying)
        with pytest.raises(MeterkeepError):
            rename(kept)
    found = {tags.generation_of(tag) for tag in column(kept, tables.tenancies.c.tag)}
    assert found == {1, 2}
    answers(kept)
    assert rename(kept) == 2
    answers(kept)


def test_the_marks_that_a_rotation_ends_are_those_that_stood(kept: World) -> None:
    facts_of_all_kinds(kept)
    rename(kept)
    said = [orjson.loads(detail or "{}") for _, _, _, detail in leaves_of(kept)]
    stated = [mark for one in said for mark in one.get("facts", ())]
    ended = [mark for one in said for mark in one.get("ended", ())]
    assert len(stated) - len(ended) == sum(
        kept.count(table) for table in (*tags.NAMED, tables.consent_events)
    ) + kept.count(tables.parties) + kept.count(tables.client_keys)
    assert set(ended) <= set(stated)


@given(
    st.binary(min_size=32, max_size=32), st.lists(st.binary(min_size=32, max_size=32), max_size=9)
)
def test_a_tag_tells_its_generation(first: bytes, later: list[bytes]) -> None:
    tag = first
    for at, key in enumerate(later):
        assert tags.generation_of(tag) == at + 1
        tag = tags.renamed(tag, key)
        assert len(tag) == 33


def test_what_is_written_of_a_rotation_is_of_the_kind_key(kept: World) -> None:
    kept.store.rotation.buckets()
    rename(kept)
    kept.store.resealing.run([subject_of(kept, HOME)])
    leaves = [leaf for _, _, leaf, _ in leaves_of(kept)]
    actions = {
        action for action in ("bucket", "lookup", "dek")
        if any(f'"keys rotate {action}"'.encode() in leaf and b'"kind":"key"' in leaf
               for leaf in leaves)
    }  # fmt: skip
    assert actions == {"bucket", "lookup", "dek"}
    assert Kind("key") is Kind.KEY


def test_a_register_with_two_runs_of_a_hundred_is_resealed_bucket_by_bucket(home: World) -> None:
    many = [mpan(number) for number in range(60)]
    home.keep(several(*(days_of(one, (DAY, FULL)) for one in many)))
    home.keep(several(*(days_of(one, (DAY, [1]), register=Register.ACTIVE_IMPORT)
                        for one in many[:30])))  # fmt: skip
    home.allow(many[0])
    bucket = bucket_of(subject_of(home, many[0]))
    subjects = home.store.resealing.of_bucket(bucket)
    assert subject_of(home, many[0]) in subjects
    home.store.rotation.buckets([bucket])
    twice = {subject_of(home, one) for one in many[:30]}  # chance puts others into the bucket too
    rows = len(subjects) + len(twice.intersection(subjects))
    assert home.store.resealing.run(subjects).rows == rows
    assert home.reads(many[0], WINDOW) == [1, *FULL[1:]]
    with home.store.database.read() as connection:
        assert connection.execute(select(func.max(tables.deks.c.number))).scalar_one() == 2
    with home.store.database.write() as connection:
        connection.execute(insert(tables.jobs), {
            "name": "x", "holder": b"", "expires": 0.0, "begun": 0.0, "state": "{}"})  # fmt: skip
