"""What is answered from now is what was acknowledged: the store held to its log, and attacked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import delete, insert, select, update
from typer.testing import CliRunner, Result

import meterkeep
from store import tables
from store.checks.holding import trees
from store.commands.log_commands import store_copies
from store.envelope import run_digest
from store.errors import InputError
from store.exports.runner import expire
from store.facts.door import Supply
from store.lake import parquet
from store.lake.files import FileState
from store.life.retention import Retention
from store.log.writer import Entry, Kind, Log
from store.orders import export_grounds
from store.orders.book import LIFE
from store.policy import retention_rules
from store.proofs.notes import Verifier
from store.proofs.verdicts import Status, Trust, Verdict
from store.proofs.verifying import verify_all
from store.reads import Register, Window, month_name
from tests.store.checks.test_standing_facts import lived
from tests.store.exporting import Supplier
from tests.world import ALL, DAY, World, days_of, mpan, several, window_of

HOME, OTHER = mpan(1), mpan(2)


def held(world: World) -> Verdict:
    """Bring the log into its tree, verify that, and hold the store to it."""
    world.store.sequencer.run()
    copies = store_copies(world.store)
    keys = [Verifier.parse(key) for key in world.store.tree.vkeys()]
    verdicts = verify_all(copies, Trust(keys))
    assert [one.status for one in verdicts] == [Status.CONSISTENT] * len(verdicts)
    return world.store.holding.check(list(trees(copies, verdicts)))


def wrong(world: World) -> str:
    verdict = held(world)
    assert verdict.status is Status.TAMPERED
    return " ".join(f"{one.where}: {one.what};" for one in verdict.every)


def by_hand(world: World, *statements: Any) -> None:
    with world.store.database.write() as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def kept(home: World) -> World:
    """Return a store with commits, a revert, a compaction, facts of each kind, answers."""
    return filled(home)


def filled(home: World) -> World:
    lived(home)
    meters = [days_of(mpan(number), (DAY, [1]), (DAY + 31, [2])) for number in range(1, 9)]
    home.keep(*meters)
    wrong_one = home.keep(several(*meters)).number
    home.store.writes.revert(wrong_one)
    home.allow(HOME)
    home.compact(most_meters=3)
    home.keep(days_of(HOME, (DAY, [7])))
    assert home.reads(HOME, window_of(DAY))[0] == 7
    return home


def test_a_store_that_nobody_touched_is_what_its_log_says(kept: World) -> None:
    verdict = held(kept)
    assert verdict.every == []
    assert verdict.status is Status.CONSISTENT
    told = "\n".join(verdict.remarks)
    assert "1 answers rest on facts" in told
    assert "34 rows stand" in told


def test_on_every_keeper_it_is_what_its_log_says(world: World) -> None:
    assert held(filled(world)).every == []
    by_hand(world, delete(tables.supply_choices))
    assert "1 that the log states are gone" in wrong(world)


def test_the_command_holds_this_machine_s_store(
    kept: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("\n".join(kept.store.tree.vkeys()))
    kept.store.sequencer.run()
    kept.store.sequencer.close()
    monkeypatch.setenv("METERKEEP_HOME", str(kept.store.settings.home))

    def run(*arguments: str) -> Result:
        asked = ["log", "verify", "--store", "--key", str(keys), *arguments]
        return CliRunner().invoke(meterkeep.build(), asked)

    good = run()
    assert (good.exit_code, good.stdout.splitlines()[-1]) == (0, "consistent")
    assert "the store: consistent" in good.stdout
    assert isinstance(run("--hashes").exception, InputError)
    by_hand(kept, delete(tables.reverts))
    bad = run("--json")
    assert bad.exit_code == 1
    assert orjson.loads(bad.stdout)["logs"][-1]["origin"] == "the store"


def test_what_is_newer_than_the_checkpoint_counts_too(kept: World) -> None:
    held(kept)
    copies = store_copies(kept.store)
    keys = [Verifier.parse(key) for key in kept.store.tree.vkeys()]
    verdicts = verify_all(copies, Trust(keys))
    kept.keep(days_of(OTHER, (DAY, [9])))
    kept.allow(OTHER)
    verdict = kept.store.holding.check(list(trees(copies, verdicts)))
    assert verdict.every == []
    assert "entries are newer than the checkpoint" in verdict.remarks[-1]


def live_file(world: World, level: int) -> Any:
    f = tables.files.c
    with world.store.database.read() as connection:
        query = select(tables.files).where(f.state == FileState.LIVE, f.level == level)
        return connection.execute(query.order_by(f.id)).mappings().first()


# ---- files and rows ------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1])
def test_a_dropped_file_is_missed(kept: World, level: int) -> None:
    file = live_file(kept, level)
    f = tables.files
    by_hand(kept, update(f).where(f.c.id == file["id"]).values(state=FileState.DEAD))
    told = wrong(kept)
    assert f"{file['name']}: the log states it, and it is not live" in told
    assert "are gone" in told or "not those that were committed" in told


def test_a_compacted_file_put_back_beside_its_successor_is_found(kept: World) -> None:
    f = tables.files.c
    dead = select(f.name).where(f.state == FileState.DEAD).order_by(f.id)
    with kept.store.database.read() as connection:
        name = connection.execute(dead).scalars().first()
    by_hand(kept, update(tables.files).where(f.name == name).values(state=FileState.LIVE))
    assert f"{name}: is live, and the log does not state it" in wrong(kept)


def test_an_older_page_of_a_run_index_is_found(kept: World) -> None:
    """The newest rows vanish, older genuine ones are answered: only the log can tell."""
    file = live_file(kept, 0)
    r = tables.runs
    with kept.store.database.read() as connection:
        page = connection.execute(select(r.c.page).where(r.c.file == file["id"])).scalar_one()
    by_hand(kept, update(r).where(r.c.file == file["id"]).values(page=bytes(page)[:16] + bytes(24)))
    assert f"{file['name']}: " in wrong(kept)


def test_an_index_made_anew_with_its_digest_is_found(kept: World) -> None:
    """Page and digest fit each other, and a customer's rows are out of it."""
    file = live_file(kept, 1)
    r, f = tables.runs, tables.files
    with kept.store.database.read() as connection:
        page = connection.execute(select(r.c.page).where(r.c.file == file["id"])).scalar_one()
    fewer = bytes(page)[:-40]
    by_hand(
        kept,
        update(r).where(r.c.file == file["id"]).values(page=fewer),
        update(f).where(f.c.id == file["id"]).values(
            index_digest=hashlib.sha256(fewer).digest(), high=fewer[-40:-24],
            rows=file["rows"] - int.from_bytes(bytes(page)[-18:-16], "little"),
        ),
    )  # fmt: skip
    told = wrong(kept)
    assert f"{file['name']}: its run index is not the one that the log states" in told
    # Subjects are drawn: the last one's rows are some of a commit's, or all that it has here.
    assert (
        "are not those that were committed" in told or "in active_import 2025-07: are gone" in told
    )


def test_a_page_that_stands_where_nobody_looks_is_found(kept: World) -> None:
    file = live_file(kept, 1)
    r = tables.runs
    by_hand(kept, update(r).where(r.c.file == file["id"]).values(first=b"\xff" * 16))
    assert "stands where nobody looks" in wrong(kept)


@pytest.mark.parametrize("change", [
    {"low": b"\xff" * 16}, {"high": bytes(16)}, {"rows": 1}, {"register": 2}, {"month": 1},
], ids=lambda change: next(iter(change)))  # fmt: skip
def test_a_file_that_is_told_to_hold_less_is_found(kept: World, change: dict[str, Any]) -> None:
    file = live_file(kept, 1)
    by_hand(kept, update(tables.files).where(tables.files.c.id == file["id"]).values(change))
    assert f"{file['name']}: " in wrong(kept)


def test_a_changed_object_is_found(kept: World) -> None:
    file = live_file(kept, 1)
    with kept.store.database.read() as connection:
        [one] = [f for f in kept.store.catalogue.live(connection) if f.id == file["id"]]
        run = kept.store.catalogue.index_of(connection, one)[-1]
    body = bytearray(kept.steal(file["name"]))
    body[run.offset + 145] ^= 1
    kept.forge(file["name"], bytes(body))
    assert "its rows are not those that its index names" in wrong(kept)
    kept.store.objects.delete(file["name"])
    assert f"{file['name']}: an object cannot be read" in wrong(kept)


def compacted_by_an_enemy(world: World, change: Callable[[parquet.Sealed], parquet.Sealed]) -> None:
    """Merge everything as compaction does, changed, into a sound file with a sound leaf."""
    store = world.store
    with store.database.read() as connection:
        files = list(store.catalogue.live(connection))
        held: dict[bytes, bytes] = {}
        for file in files:
            body = store.objects.get(file.name)
            for run in store.catalogue.index_of(connection, file):
                boxes = body[run.offset : run.offset + run.rows * 146]
                held[run.subject] = held.get(run.subject, b"") + boxes
    subjects = sorted(held)
    boxes = [held[subject] for subject in subjects]
    merged = parquet.Sealed(subjects, [len(each) // 146 for each in boxes], b"".join(boxes))
    batch = store.catalogue.reserve()
    new = parquet.build(Register(files[0].register), files[0].month, 1, batch, change(merged))
    store.catalogue.register(batch, [new])
    store.objects.put(new.name, new.body)
    detail = {
        "inputs": [f"{file.name} {file.index_digest.hex()}" for file in files],
        "outputs": [f"{new.name} {new.index_digest.hex()}"],
    }
    with store.database.write() as connection:
        store.catalogue.retire(connection, [file.id for file in files])
        store.catalogue.publish(connection, batch, 1)
        store.log.append(connection, Entry(Kind.COMPACT, "compact", detail=detail))


def less(rows: parquet.Sealed) -> parquet.Sealed:
    return parquet.Sealed(rows.subjects, [rows.counts[0] - 1, *rows.counts[1:]], rows.boxes[146:])


def other(rows: parquet.Sealed) -> parquet.Sealed:
    boxes = bytearray(rows.boxes)
    boxes[140] ^= 1  # of the first row's ciphertext
    return parquet.Sealed(rows.subjects, rows.counts, bytes(boxes))


def twice(rows: parquet.Sealed) -> parquet.Sealed:
    return parquet.Sealed(
        rows.subjects, [rows.counts[0] + 1, *rows.counts[1:]], rows.boxes[:146] + rows.boxes
    )


def without_one(rows: parquet.Sealed) -> parquet.Sealed:
    return parquet.Sealed(rows.subjects[1:], rows.counts[1:], rows.boxes[146 * rows.counts[0] :])


@pytest.mark.parametrize("change", [less, other, twice, without_one])
def test_a_compaction_that_does_not_keep_every_row_is_found(
    home: World, change: Callable[[parquet.Sealed], parquet.Sealed]
) -> None:
    """The file is sound, its digests are sound and the log states it: the commits say otherwise."""
    meters = [days_of(mpan(number), (DAY, [1]), (DAY + 1, [2])) for number in range(1, 4)]
    home.keep(several(*meters))
    home.keep(days_of(HOME, (DAY + 2, [3])))
    compacted_by_an_enemy(home, lambda rows: rows)
    assert held(home).every == []
    compacted_by_an_enemy(home, change)
    told = wrong(home)
    assert "not those that were committed" in told
    assert "run index" not in told


def retained(world: World, days: int) -> None:
    store, rules = world.store, retention_rules.load()
    rules = replace(rules, days={**rules.days, "half_hourly_reads": days})
    Retention(store.database, store.log, store.clock, rules).enforce()


def test_months_that_were_let_go_are_not_missed_and_what_comes_later_is(kept: World) -> None:
    retained(kept, 360)  # the first of the two months: July
    verdict = held(kept)
    assert verdict.every == []
    assert "16 rows stand" in verdict.remarks
    kept.keep(days_of(HOME, (DAY, [5])))  # late, into the month that is past
    assert held(kept).every == []
    f = tables.files
    by_hand(kept, update(f).where(f.c.level == 0, f.c.state == FileState.LIVE)
            .values(state=FileState.DEAD))  # fmt: skip
    assert "are gone" in wrong(kept)


def test_rows_sealed_anew_are_those_that_were_committed(kept: World) -> None:
    with kept.store.database.read() as connection:
        subjects = [t.subject for t in kept.store.facts.tenancies_of(connection, HOME)]
    for _ in range(2):  # and once more: the chain leads back
        kept.store.resealing.run([subject for subject in subjects if subject is not None])
    assert held(kept).every == []
    kept.compact()
    assert held(kept).every == []


def resealed_by_an_enemy(
    world: World, change: Callable[[bytes], bytes], **said: Any
) -> dict[str, Any]:
    """Swap a file for one with other rows of HOME, and say that they were sealed anew.

    File, index and leaf are sound; who does it writes the database and the objects, and has no key.
    """
    store = world.store
    with store.database.read() as connection:
        [file] = store.catalogue.live(connection)
        [run] = store.catalogue.index_of(connection, file)
    boxes = store.objects.get(file.name)[run.offset : run.offset + run.rows * 146]
    others = change(boxes)
    batch = store.catalogue.reserve()
    sealed = parquet.Sealed([run.subject], [run.rows], others)
    new = parquet.build(Register(file.register), file.month, 0, batch, sealed)
    store.catalogue.register(batch, [new])
    store.objects.put(new.name, new.body)
    was, now = run_digest(boxes).hex(), run_digest(others).hex()
    detail = {
        "inputs": [f"{file.name} {file.index_digest.hex()}"],
        "outputs": [f"{new.name} {new.index_digest.hex()}"],
        "resealed": [[run.subject.hex(), 1, run.rows, was, now]],
        **said,
    }
    with store.database.write() as connection:
        store.catalogue.retire(connection, [file.id])
        store.catalogue.publish(connection, batch, 1)
        store.log.append(connection, Entry(Kind.KEY, "keys reseal", detail=detail))
    return detail


def spoilt(boxes: bytes) -> bytes:
    return boxes[:-1] + bytes([boxes[-1] ^ 1])


def resealed(world: World) -> dict[str, Any]:
    """Give HOME another key; returns what the log says of its rows."""
    with world.store.database.read() as connection:
        [tenancy] = world.store.facts.tenancies_of(connection, HOME)
        assert tenancy.subject is not None
    world.store.resealing.run([tenancy.subject])
    return said_of_reseals(world)[-1]


def said_of_reseals(world: World) -> list[dict[str, Any]]:
    d = tables.details
    query = select(d.c.detail).join(tables.leaves, tables.leaves.c.entry == d.c.entry)
    with world.store.database.read() as connection:
        texts = connection.execute(query.order_by(tables.leaves.c.id)).scalars().all()
    return [detail for detail in map(orjson.loads, texts) if "resealed" in detail]


def test_rows_that_somebody_without_the_key_calls_sealed_anew_are_found(home: World) -> None:
    home.keep(days_of(HOME, (DAY, [1]), (DAY + 1, [2])))
    resealed_by_an_enemy(home, spoilt, mark="00" * 16)
    told = wrong(home)
    assert "states rows sealed anew, and has no mark of our key" in told
    assert "are not those that were committed" in told


def test_the_mark_of_one_sealing_serves_no_other(home: World) -> None:
    home.keep(days_of(HOME, (DAY, [1]), (DAY + 1, [2])))
    mark = resealed(home)["mark"]
    assert held(home).every == []
    resealed_by_an_enemy(home, spoilt, mark=mark)
    assert "has no mark of our key" in wrong(home)


def test_after_a_marked_one_a_sealing_without_a_mark_is_found(home: World) -> None:
    home.keep(days_of(HOME, (DAY, [1]), (DAY + 1, [2])))
    resealed(home)
    resealed_by_an_enemy(home, spoilt)
    assert "without a mark, after some with" in wrong(home)


def test_what_an_older_program_sealed_anew_is_told_apart(
    home: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither believed nor called false: nobody can tell."""
    home.keep(days_of(HOME, (DAY, [1]), (DAY + 1, [2])))
    with monkeypatch.context() as patch:
        append = Log.append

        def older(self: Log, connection: Any, *entries: Entry) -> list[bytes]:
            for one in entries:
                dict.pop(one.detail or {}, "mark", None)  # type: ignore[arg-type]
            return append(self, connection, *entries)

        patch.setattr(Log, "append", older)
        assert "mark" not in resealed(home)
    verdict = held(home)
    assert verdict.every == []
    assert verdict.status is Status.UNKNOWN
    assert "1 entries state rows sealed anew, without a mark" in verdict.unknown
    resealed(home)  # the chain leads back over both
    assert held(home).every == []


def test_rows_of_before_a_new_key_that_are_put_back_are_found(home: World) -> None:
    """They are those that were committed, and nobody can open them any more."""
    home.keep(days_of(HOME, (DAY, [1]), (DAY + 1, [2])))
    with home.store.database.read() as connection:
        [file] = home.store.catalogue.live(connection)
        [run] = home.store.catalogue.index_of(connection, file)
    boxes = home.store.objects.get(file.name)[run.offset : run.offset + run.rows * 146]
    resealed(home)
    compacted_by_an_enemy(home, lambda rows: replace(rows, boxes=boxes))
    told = wrong(home)
    assert "rows of 1 customers are sealed under keys that they have not" in told
    assert "not those that were committed" not in told


def test_a_new_lookup_key_takes_no_fact_away(kept: World) -> None:
    kept.store.renaming.run(pause=lambda _: None)
    assert held(kept).every == []
    by_hand(kept, delete(tables.supply_choices))
    assert "1 that the log states are gone" in wrong(kept)


def let_go(world: World, **detail: Any) -> None:
    with world.store.database.write() as connection:
        world.store.log.append(connection, Entry(Kind.OPERATE, "retain months", detail=detail))


def test_a_retention_that_names_no_file_excuses_no_row(kept: World) -> None:
    let_go(kept, files=[], months=["2025-07", "2025-08"], days=1)
    told = wrong(kept)
    assert "lets months go of which it names no file" in told
    by_hand(kept, update(tables.files).values(state=FileState.DEAD))
    assert "are gone" in wrong(kept), "its rows are missed all the same"


@pytest.mark.parametrize("days", [0, 10_000])
def test_a_retention_before_its_time_is_found(kept: World, days: int) -> None:
    """A month that has not ended yet, or not for as long as the entry itself says."""
    file = live_file(kept, 0)
    named = f"{file['name']} {file['index_digest'].hex()}"
    month = month_name(file["month"])
    if not days:
        kept.clock.time = DAY * 86_400.0  # within that month
    let_go(kept, files=[named], months=[month], days=days)
    assert "lets a month go before its time" in wrong(kept)


def test_a_restore_excuses_what_it_forgot_and_nothing_older(kept: World) -> None:
    def restored(*first: int) -> Verdict:
        with kept.store.database.write() as connection:
            detail = {"entries": 1, "first": list(first)}
            kept.store.log.append(connection, Entry(Kind.OPERATE, "restore", detail=detail))
        return held(kept)

    kept.store.sequencer.run()
    le = tables.leaves.c
    with kept.store.database.read() as connection:
        query = select(le.shard, le.position, le.entry, le.leaf).order_by(le.id)
        facts = [row[:3] for row in connection.execute(query) if b'"kind":"fact"' in row[3]]
    shard, position, entry = facts[0]
    by_hand(kept, delete(tables.details).where(tables.details.c.entry == entry))
    assert "its detail is gone, and no erasure takes a fact's" in wrong(kept)
    later = restored(shard, position + 1)
    assert "no erasure takes a fact's" in " ".join(one.what for one in later.every)
    forgot = restored(shard, position)
    assert not [one for one in forgot.every if "no erasure takes" in one.what]
    assert "what 1 entries before it stated was lost" in " ".join(forgot.unknown)


# ---- commits -------------------------------------------------------------------------------------

CHANGES: list[tuple[str, Callable[[], list[Any]]]] = [
    ("revert taken away", lambda: [delete(tables.reverts)]),
    ("revert added", lambda: [insert(tables.reverts).values({"commit": 1, "by": 4})]),
    ("revert moved", lambda: [update(tables.reverts).values(by=5)]),
    ("order changed", lambda: [
        update(tables.commits).where(tables.commits.c.number == 1).values(number=99),
        update(tables.commits).where(tables.commits.c.number == 2).values(number=1),
        update(tables.commits).where(tables.commits.c.number == 99).values(number=2),
    ]),
    ("commit taken away", lambda: [delete(tables.commits).where(tables.commits.c.number == 5)]),
    ("newest hidden", lambda: [update(tables.head).values(commit=4)]),
    ("time moved", lambda: [
        update(tables.commits).where(tables.commits.c.number == 1).values(at=0.0),
    ]),
]  # fmt: skip


@pytest.mark.parametrize("change", [c for _, c in CHANGES], ids=[n for n, _ in CHANGES])
def test_commits_and_reverts_are_those_of_the_log(
    kept: World, change: Callable[[], list[Any]]
) -> None:
    by_hand(kept, *change())
    assert "commit" in wrong(kept) or "reverts" in wrong(kept)


# ---- facts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [
    tables.supply_choices, tables.tenancies, tables.registrations, tables.consents,
    tables.consent_events, tables.parties, tables.client_keys,
], ids=lambda table: str(table.name))  # fmt: skip
def test_a_fact_that_was_taken_away_is_missed(kept: World, table: Any) -> None:
    with kept.store.database.read() as connection:
        row = connection.execute(select(table)).mappings().first()
    keys = list(table.primary_key.columns)
    mine = [column == row[column.name] for column in keys]
    by_hand(kept, delete(table).where(*mine))
    assert "1 that the log states are gone" in wrong(kept)


def test_a_fact_and_its_leaf_taken_away_together_are_missed(kept: World) -> None:
    with kept.store.database.read() as connection:
        entry = connection.execute(select(tables.supply_choices.c.entry)).scalar_one()
    held(kept)
    by_hand(
        kept,
        delete(tables.supply_choices),
        delete(tables.leaves).where(tables.leaves.c.entry == entry),
        delete(tables.details).where(tables.details.c.entry == entry),
    )
    told = wrong(kept)
    assert "the database has not what the tree has" in told
    assert "no erasure takes a fact's" in told


def test_an_older_row_that_is_put_back_is_found(kept: World) -> None:
    """A consent that was withdrawn is granted again, with its event taken away."""
    t, e = tables.consents, tables.consent_events
    identity = kept.allow(OTHER)
    with kept.store.database.read() as connection:
        before = connection.execute(select(t).where(t.c.id == identity)).mappings().one()
    kept.store.facts.withdraw_consent(identity)
    assert held(kept).every == []
    by_hand(
        kept,
        update(t).where(t.c.id == identity).values(dict(before)),
        delete(e).where(e.c.consent == identity, e.c.version == 2),
    )
    told = wrong(kept)
    assert "consent: a row stands that the log ended" in told
    assert "2 that the log states are gone or were changed" in told


def test_an_earlier_end_of_a_registration_that_is_undone_is_found(kept: World) -> None:
    facts, supplier = kept.store.facts, kept.party("supplier", "IS")
    facts.add_registrations([Supply(HOME, supplier, "IS", "domestic", Window(0, 1 << 40))])
    t = tables.registrations
    mine = t.c.party == supplier
    with kept.store.database.read() as connection:
        before = connection.execute(select(t).where(mine)).mappings().one()
    facts.add_registrations([Supply(HOME, supplier, "IS", "domestic", Window(0, 100))])
    by_hand(kept, update(t).where(mine).values(dict(before)))
    assert "registration: a row stands that the log ended" in wrong(kept)


def test_a_key_destroyed_without_an_erasure_is_missed(kept: World) -> None:
    by_hand(kept, delete(tables.deks))
    assert "customers have no key" in wrong(kept)


def test_an_export_that_was_widened_by_hand_is_found(home: World) -> None:
    home.keep(*[days_of(mpan(number), (DAY, [1])) for number in range(1, 4)])
    supplier = Supplier(home)
    supplier.supplies(HOME, ALL)
    assert supplier.exports(window_of(DAY)).state == "done"
    assert held(home).every == []
    m = tables.export_meters
    by_hand(home, update(m).values(end=m.c.end + 48))
    assert "may read other than the log states" in wrong(home)


def test_what_each_meter_of_an_export_rested_on_is_held_to_the_log(home: World) -> None:
    home.keep(*[days_of(mpan(number), (DAY, [1])) for number in range(1, 4)])
    supplier, adviser = Supplier(home), Supplier(home, "adviser", "OU")
    for number in (1, 2):
        supplier.supplies(mpan(number), ALL)
    home.allow(OTHER, party=adviser.code)
    exports = [one.exports(window_of(DAY)) for one in (supplier, adviser)]
    assert [one.state for one in exports] == ["done", "done"]
    verdict = held(home)
    assert verdict.every == []
    assert "3 meters of exports rest on such facts too" in verdict.remarks
    home.clock.pass_by(2 * LIFE)
    assert expire(home.store) == 2
    assert home.count(tables.export_meters) == 0
    assert held(home).remarks == verdict.remarks, "what it rested on stays when the export goes"
    g = tables.export_grounds
    by_hand(home, update(g).where(g.c.export == exports[1].id).values(page=b"f" * 16))
    told = wrong(home)
    assert f"export {exports[1].id}: what it rested on is not what the log states" in told
    assert "rests on a fact that the log did not hold before it" in told
    by_hand(home, delete(g).where(g.c.export == exports[0].id))
    assert f"export {exports[0].id}: what it rested on is not what" in wrong(home)


def test_an_export_that_rests_on_what_the_log_did_not_hold_is_found(kept: World) -> None:
    """As of a program that was changed: entry and list agree, and the fact was never stated."""
    page = b"e" * 16
    detail = {"export": "x_1", "leaves": 1, "root": "", "grounds": hashlib.sha256(page).hexdigest()}
    with kept.store.database.write() as connection:
        export_grounds.put(connection, "x_1", 0, [page])
        told = Entry(Kind.EXPORT, "export", "p_1", "allow", detail=detail)
        kept.store.log.append(connection, told)
    assert "rests on a fact that the log did not hold before it" in wrong(kept)
    assert "not what the log states" not in wrong(kept)


# ---- answers and details -------------------------------------------------------------------------


def say(world: World, entry: str, **more: Any) -> None:
    detail = {"rests_on": [{"entry": entry, "basis": "consent", "reference": "c", "subject": ""}]}
    with world.store.database.write() as connection:
        told = Entry(Kind.INTENT, "read 4.8.1", "p_1", "allow", detail=detail | more)
        world.store.log.append(connection, told)


def test_an_answer_that_rests_on_what_the_log_did_not_hold_is_found(kept: World) -> None:
    say(kept, "00" * 16)
    assert "rests on a fact that the log did not hold before it" in wrong(kept)


def test_an_answer_that_rests_on_a_later_fact_is_found(kept: World) -> None:
    """The fact is stated after the answer, though a row of it stood there before by hand."""
    with kept.store.database.write() as connection:
        detail = {"facts": []}
        [entry] = kept.store.log.append(connection, Entry(Kind.FACT, "x", detail=detail))
    say(kept, entry.hex())
    l, d = tables.leaves, tables.details  # noqa: E741
    with kept.store.database.read() as connection:
        rows = connection.execute(select(l).order_by(l.c.id.desc()).limit(2)).mappings().all()
    by_hand(
        kept,
        update(l).where(l.c.id == rows[1]["id"]).values(id=rows[0]["id"] + 1),
    )
    assert kept.count(d)
    assert "rests on a fact that the log did not hold before it" in wrong(kept)


def test_an_answer_that_rests_on_nothing_is_found(kept: World) -> None:
    with kept.store.database.write() as connection:
        told = Entry(Kind.INTENT, "read 4.8.1", "p_1", "allow", detail={"rests_on": []})
        kept.store.log.append(connection, told)
    assert "an answer that rests on nothing" in wrong(kept)


def test_an_answer_on_a_consent_that_had_ended_is_found(kept: World) -> None:
    identity = kept.allow(OTHER)
    with kept.store.database.read() as connection:
        [found] = kept.store.facts.grounds(connection, OTHER, kept.party("reader")).consents
    kept.store.facts.withdraw_consent(identity)
    kept.clock.pass_by(30)
    say(kept, found.entry.hex())
    assert held(kept).every == []  # it may have been on its way
    kept.clock.pass_by(60)
    say(kept, found.entry.hex())
    assert "rests on a fact that had ended before it" in wrong(kept)


def test_a_changed_detail_is_found(kept: World) -> None:
    d = tables.details
    with kept.store.database.read() as connection:
        entry = connection.execute(select(tables.commits.c.entry)).scalars().first()
    by_hand(kept, update(d).where(d.c.entry == entry).values(detail='{"batch":1}'))
    assert "its detail is not the one it commits to" in wrong(kept)


def test_an_erased_detail_is_counted_and_is_no_fault(kept: World) -> None:
    d, l = tables.details, tables.leaves  # noqa: E741
    with kept.store.database.read() as connection:
        rows = connection.execute(select(l.c.entry, l.c.leaf)).all()
    [read] = [row.entry for row in rows if b'"kind":"intent"' in row.leaf]
    by_hand(kept, delete(d).where(d.c.entry == read))
    verdict = held(kept)
    assert verdict.every == []  # an erasure stands in this log
    assert "1 entries have no detail any more: erased" in verdict.remarks


def test_a_detail_that_no_erasure_took_is_missed(home: World) -> None:
    home.keep(days_of(HOME, (DAY, [1])))
    home.allow(HOME)
    home.reads(HOME, window_of(DAY))
    d, l = tables.details, tables.leaves  # noqa: E741
    with home.store.database.read() as connection:
        rows = connection.execute(select(l.c.entry, l.c.leaf)).all()
    [read] = [row.entry for row in rows if b'"kind":"intent"' in row.leaf]
    by_hand(home, delete(d).where(d.c.entry == read))
    assert "no entry states an erasure" in wrong(home)


def test_what_a_restore_lost_is_told_and_is_no_tampering(kept: World) -> None:
    """An older database was brought forward: newer entries have their places and no detail."""
    held(kept)
    table, column = tables.supply_choices, tables.supply_choices.c.entry
    with kept.store.database.read() as connection:
        entry = connection.execute(select(column)).scalar_one()
    by_hand(kept, delete(table), delete(tables.details).where(tables.details.c.entry == entry))
    assert "no erasure takes a fact's" in wrong(kept)
    kept.store.log.write(Entry(Kind.OPERATE, "restore", detail={"entries": 1}))
    verdict = held(kept)
    assert (verdict.every, verdict.status) == ([], Status.UNKNOWN)
    assert "states a restore: what 1 entries before it stated was lost" in verdict.unknown[0]
    by_hand(kept, delete(tables.consent_events))
    assert "that the log states are gone" in wrong(kept)


def test_a_leaf_changed_in_the_database_alone_is_found(kept: World) -> None:
    held(kept)
    l = tables.leaves  # noqa: E741
    by_hand(kept, update(l).where(l.c.position == 3).values(leaf=b"\x01{}"))
    assert "/3: the database has not what the tree has" in wrong(kept)
