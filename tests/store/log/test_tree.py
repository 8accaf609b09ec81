"""The log's tree: every committed leaf stands in it once, under a checkpoint, whoever died when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from sqlalchemy import delete, insert, select, update

from store import tables
from store.errors import (
    CatalogueError,
    InputError,
    LogError,
    MeterkeepError,
    ObjectError,
    TamperedError,
)
from store.log.places import LEASE, Places
from store.log.writer import Entry, Kind
from store.parts import Store
from store.proofs.merkle import leaf_hash, root_of, verify_inclusion
from store.proofs.notes import Checkpoint, Verifier, open_note, split_note
from store.proofs.tiles import Hashes, Tile, decode_bundle, width_at
from store.settings import Settings
from tests.world import NOON, FakeClock, World, opened

YEAR = datetime.fromtimestamp(NOON, UTC).year


def write(store: Store, number: int) -> list[bytes]:
    """Write so many entries in transactions of their own kind."""
    with store.database.write() as connection:
        entries = [Entry(Kind.OPERATE, f"a test {at}") for at in range(number)]
        return store.log.append(connection, *entries)


def read(store: Store, shard: int = YEAR) -> tuple[Checkpoint, list[bytes]]:
    """Return a year's checkpoint and all leaves under it, read from the objects alone."""
    key = next(key for key in store.tree.vkeys() if f"/{shard}+" in key)
    text, signed = open_note(store.tree.checkpoint(shard), [Verifier.parse(key)])
    assert len(signed) == 1
    found = Checkpoint.parse(text)

    def body(tile: Tile) -> bytes:
        return store.tree.tile(shard, tile.path)

    hashes = Hashes(found.size, body)
    assert root_of(found.size, hashes) == found.root
    leaves: list[bytes] = []
    for index in range(-(-found.size // 256)):
        leaves += decode_bundle(body(Tile(None, index, width_at(None, index, found.size))))
    assert len(leaves) == found.size
    for at, leaf in enumerate(leaves):
        assert hashes(0, at) == leaf_hash(leaf)
    return found, leaves


def entries(leaves: list[bytes]) -> list[str]:
    return [orjson.loads(leaf[1:])["entry"] for leaf in leaves]


def rows(store: Store) -> list[tuple[int | None, int | None, str]]:
    leaf = tables.leaves.c
    with store.database.read() as connection:
        found = connection.execute(select(leaf.shard, leaf.position, leaf.entry).order_by(leaf.id))
        return [(shard, at, bytes(entry).hex()) for shard, at, entry in found]


@pytest.mark.parametrize("settings", ["folder"], indirect=True)
def test_places_that_the_power_took_with_it_are_given_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers are not synced by themselves: until the intent is, they may be gone."""
    kept = settings.home / "kept"
    with monkeypatch.context() as patch:
        patch.setattr(Places, "intend", _cut_off)
        with opened(settings) as world:
            store = world.store
            write(store, 300)
            with store.database._bare() as bare:
                bare.execute("VACUUM INTO ?", [str(kept)])  # what was synced
            with pytest.raises(CatalogueError):
                store.sequencer.run()
            assert all(at is not None for _, at, _ in rows(store))
    [file] = settings.home.glob("*.db")
    for name in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
        name.unlink(missing_ok=True)
    kept.rename(file)
    with opened(settings) as world:
        store = world.store
        assert all(at is None for _, at, _ in rows(store))
        write(store, 1)
        assert store.sequencer.run()
        found, leaves = read(store)
        assert entries(leaves) == [entry for _, _, entry in rows(store)]
        assert found.size == 301


def _cut_off(*_: object) -> None:
    raise CatalogueError("the power is gone")


@pytest.mark.parametrize("counts", [[1], [3, 2], [255, 1, 1], [256, 256], [700, 1, 300]])
def test_every_entry_stands_in_the_tree_once_in_the_order_of_its_row(
    world: World, counts: list[int]
) -> None:
    before = None
    for count in counts:
        write(world.store, count)
        assert world.store.sequencer.run()
        found, leaves = read(world.store)
        assert entries(leaves) == [entry for _, _, entry in rows(world.store)]
        assert [at for _, at, _ in rows(world.store)] == list(range(found.size))
        if before is not None:
            assert leaves[: before[0].size] == before[1]
        before = (found, leaves)
    assert world.store.sequencer.run()
    assert read(world.store) == before


def test_whoever_opens_the_store_anew_goes_on_where_the_last_stopped(settings: Settings) -> None:
    clock, seen = FakeClock(), []
    for count in (100, 156, 1, 300):
        with opened(settings, clock) as world:
            write(world.store, count)
        with opened(settings, clock) as world:
            _, leaves = read(world.store)
            assert leaves[: len(seen)] == seen
            seen = leaves
    assert len(seen) == len({*entries(seen)}) >= 557


def test_partial_tiles_go_once_they_are_full_and_none_other(world: World) -> None:
    for count in (100, 100, 100, 300, 20):
        write(world.store, count)
        world.store.sequencer.run()
    found, _ = read(world.store)
    kept = {name for name in world.names() if name.startswith("log/")}
    wanted = {f"log/{YEAR}/checkpoint"}
    for level, size in ((None, found.size), (0, found.size), (1, found.size >> 8)):
        tiles = [Tile(level, index, 256) for index in range(size // 256)]
        tiles += [Tile(level, size // 256, size % 256)] if size % 256 else []
        wanted |= {f"log/{YEAR}/{tile.path}" for tile in tiles}
    extra = {name for name in kept - wanted if "/tile/1/" not in name}
    assert wanted <= kept
    # Partials of what is not full yet stay: a reader may hold an older checkpoint.
    assert all(".p/" in name and "/002.p/" in name for name in extra), extra


def test_an_older_partial_tile_is_cut_from_the_full_one(world: World) -> None:
    write(world.store, 100)
    world.store.sequencer.run()
    size = read(world.store)[0].size
    tiles = [Tile(0, 0, size), Tile(None, 0, size)]
    before = [world.store.tree.tile(YEAR, tile.path) for tile in tiles]
    write(world.store, 256)
    world.store.sequencer.run()
    assert f"log/{YEAR}/{tiles[0].path}" not in world.names()
    assert [world.store.tree.tile(YEAR, tile.path) for tile in tiles] == before


@pytest.mark.parametrize(
    "path", ["tile/0/000.p/200", "tile/1/000", "tile/entries/001", "tile/9/000", "x"]
)
def test_a_tile_that_no_checkpoint_covers_is_not_told(world: World, path: str) -> None:
    write(world.store, 100)
    world.store.sequencer.run()
    with pytest.raises(InputError) as refused:
        world.store.tree.tile(YEAR, path)
    assert refused.value.code == "not_found"


def test_the_tiles_of_a_checkpoint_are_there_before_the_database_knows_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader who takes the checkpoint in that moment finds all that it names."""
    write(world.store, 100)
    world.store.sequencer.run()
    write(world.store, 300)
    with monkeypatch.context() as patch:
        patch.setattr(Places, "publish", _cut_off)
        with pytest.raises(CatalogueError):
            world.store.sequencer.run()
    found, _ = read(world.store)
    [standing] = world.store.tree.shards()
    assert found.size >= standing.published + 300


def test_each_entry_is_proved_under_the_newest_checkpoint(home: World) -> None:
    write(home.store, 300)
    home.store.sequencer.run()
    found, leaves = read(home.store)
    for at in (0, 1, 255, 256, found.size - 1):
        proof, note = home.store.tree.proof(YEAR, at)
        assert note == home.store.tree.checkpoint()
        verify_inclusion(leaf_hash(leaves[at]), at, found.size, proof, found.root)
    write(home.store, 1)
    with pytest.raises(InputError) as early:
        home.store.tree.proof(YEAR, found.size)
    assert early.value.code == "not_yet"


def test_a_new_year_begins_with_the_last_checkpoint_of_the_old(world: World) -> None:
    write(world.store, 10)
    world.store.sequencer.run()
    old = world.store.tree.checkpoint()
    world.clock.pass_by(370 * 86_400)
    write(world.store, 5)
    world.store.sequencer.run()
    assert world.store.tree.checkpoint(YEAR) == old
    found, leaves = read(world.store, YEAR + 1)
    assert found.size == 6
    first = orjson.loads(leaves[0][1:])
    past = Checkpoint.parse(split_note(old)[0])
    goes_on = f"log shard {YEAR} {past.size} {past.root.hex()[:32]}"
    assert (first["kind"], first["action"]) == ("operate", goes_on)
    with world.store.database.read() as connection:
        d = tables.details.c
        query = select(d.detail).where(d.entry == bytes.fromhex(first["entry"]))
        detail = orjson.loads(connection.execute(query).scalar_one())
    assert detail == {"shard": YEAR, "checkpoint": old.decode()}
    assert len(world.store.tree.vkeys()) == 2
    world.clock.pass_by(-370 * 86_400)  # a clock that goes back does not bring the year back
    write(world.store, 2)
    world.store.sequencer.run()
    assert read(world.store, YEAR + 1)[0].size == 8


def test_a_row_that_commits_late_under_an_older_number_is_not_passed_over(world: World) -> None:
    """A slow transaction took its row's number early and commits after younger rows are placed."""
    slow, _ = write(world.store, 2)
    leaf = tables.leaves
    with world.store.database.write() as connection:
        row = connection.execute(select(leaf).where(leaf.c.entry == slow)).mappings().one()
        connection.execute(delete(leaf).where(leaf.c.id == row["id"]))
    write(world.store, 3)
    world.store.sequencer.run()
    size = read(world.store)[0].size
    with world.store.database.write() as connection:
        connection.execute(insert(leaf), dict(row))
    world.store.sequencer.run()
    found, leaves = read(world.store)
    assert found.size == size + 1
    assert entries(leaves)[-1] == slow.hex()


# ---- two sequencers --------------------------------------------------------------------------


def test_of_two_sequencers_one_waits_until_the_others_lease_has_run_out(settings: Settings) -> None:
    clock = FakeClock()
    with opened(settings, clock) as one, opened(settings, clock) as other:
        write(one.store, 3)
        assert one.store.sequencer.run()
        write(one.store, 3)
        assert not other.store.sequencer.run()
        clock.pass_by(LEASE + 1)
        assert other.store.sequencer.run()
        assert read(other.store)[0].size >= 6


def test_one_who_was_taken_over_writes_nothing_more_and_says_so(settings: Settings) -> None:
    clock = FakeClock()
    with opened(settings, clock) as one, opened(settings, clock) as other:
        write(one.store, 300)
        assert one.store.sequencer.run()
        clock.pass_by(LEASE + 1)
        write(one.store, 300)
        assert other.store.sequencer.run()
        whole = read(other.store)
        write(one.store, 7)
        assert not one.store.sequencer.run()  # it believes to hold the lease, and is wrong
        assert read(one.store) == whole
        assert other.store.sequencer.run()
        assert read(other.store)[0].size == whole[0].size + 7


def test_an_end_of_a_lease_far_ahead_is_a_clock_that_went_wrong(settings: Settings) -> None:
    clock, wrong = FakeClock(), FakeClock()
    wrong.pass_by(86_400)
    with opened(settings, clock) as one, opened(settings, wrong) as other:
        write(one.store, 3)
        assert other.store.sequencer.run()
        write(one.store, 3)
        assert one.store.sequencer.run()
        assert read(one.store)[0].size >= 6


# ---- what was changed ------------------------------------------------------------------------


@pytest.fixture
def kept(settings: Settings) -> Iterator[World]:
    """Yield a store whose log has full and partial tiles, none of them in anybody's memory."""
    clock = FakeClock()
    with opened(settings, clock) as world:
        write(world.store, 300)
    with opened(settings, clock) as world:
        yield world


def flip(world: World, name: str, at: int = 7) -> None:
    body = bytearray(world.steal(name))
    body[at] ^= 1
    world.forge(name, bytes(body))


def refused(world: World) -> MeterkeepError:
    """Return what a service that starts now would say; a pass says the same."""
    write(world.store, 1)
    with pytest.raises(MeterkeepError) as first:
        world.store.sequencer.check()
    with pytest.raises(MeterkeepError) as second:
        world.store.sequencer.run()
    assert first.value.code == second.value.code
    return first.value


def partials(world: World, kind: str) -> list[str]:
    return sorted(
        n for n in world.names() if n.startswith(f"log/{YEAR}/tile/{kind}/") and ".p/" in n
    )


def test_a_bit_flipped_in_the_checkpoint_is_found(kept: World) -> None:
    flip(kept, f"log/{YEAR}/checkpoint", -3)
    error = refused(kept)
    assert isinstance(error, TamperedError)
    assert error.what == "checkpoint"


def test_a_database_behind_the_checkpoint_does_not_serve(kept: World) -> None:
    t, leaf, c = tables.trees, tables.leaves, tables.checkpoints
    with kept.store.database.write() as connection:
        connection.execute(delete(leaf).where(leaf.c.position >= 200))
        connection.execute(update(t).values(numbered=200, published=200))
        connection.execute(delete(c))
    error = refused(kept)
    assert isinstance(error, LogError)
    assert error.code == "log_rolled_back"


def test_a_database_that_knows_nothing_of_the_log_does_not_serve(kept: World) -> None:
    with kept.store.database.write() as connection:
        for table in (tables.trees, tables.leaves, tables.checkpoints, tables.sequencer):
            connection.execute(delete(table))
    assert refused(kept).code == "log_rolled_back"


def test_a_database_of_last_year_does_not_begin_this_years_log_again(kept: World) -> None:
    kept.clock.pass_by(370 * 86_400)
    write(kept.store, 3)
    kept.store.sequencer.run()
    kept.store.sequencer.close()
    t, leaf = tables.trees, tables.leaves
    with kept.store.database.write() as connection:
        connection.execute(delete(t).where(t.c.shard == YEAR + 1))
        connection.execute(delete(leaf).where(leaf.c.shard == YEAR + 1))
    assert refused(kept).code == "log_rolled_back"


def test_an_older_checkpoint_put_back_is_found(kept: World) -> None:
    name = f"log/{YEAR}/checkpoint"
    old = kept.steal(name)
    write(kept.store, 5)
    kept.store.sequencer.run()
    kept.store.sequencer.close()
    kept.forge(name, old)
    error = refused(kept)
    assert isinstance(error, TamperedError)
    assert error.what == "checkpoint"


def test_an_entry_changed_or_taken_away_after_it_was_placed_is_found(kept: World) -> None:
    leaf = tables.leaves
    with kept.store.database.write() as connection:
        connection.execute(update(leaf).where(leaf.c.position == 280).values(leaf=b"\x01{}"))
    write(kept.store, 1)
    with pytest.raises(TamperedError):
        kept.store.sequencer.run()
    with kept.store.database.write() as connection:
        connection.execute(delete(leaf).where(leaf.c.position == 280))
    with pytest.raises(TamperedError):
        kept.store.sequencer.run()


def test_storage_that_is_gone_is_an_error_and_nothing_is_begun_anew(home: World) -> None:
    write(home.store, 300)
    home.store.sequencer.run()
    home.store.sequencer.close()
    log = Path(home.store.settings.objects) / "log"
    log.rename(log.with_name("away"))
    assert isinstance(refused(home), ObjectError)
    log.with_name("away").rename(log)
    assert home.store.sequencer.run()
    read(home.store)


def test_a_store_of_before_is_numbered_by_the_first_pass(folder_settings: Settings) -> None:
    with opened(folder_settings) as world:
        write(world.store, 30)
        world.store.log.written = 0  # as a program did that knew no tree
    with opened(folder_settings) as world:
        assert {at for _, at, _ in rows(world.store)} == {None}
        assert world.store.sequencer.run()
        assert read(world.store)[0].size >= 30


def test_the_name_of_a_log_stays_where_the_public_address_changes(
    folder_settings: Settings,
) -> None:
    with opened(folder_settings) as world:
        write(world.store, 3)
    moved = replace(folder_settings, public_url="https://reads.example/meterkeep")
    with opened(moved) as world:
        write(world.store, 3)
        world.store.sequencer.run()
        assert read(world.store)[0].origin == f"127.0.0.1:8700/v1/log/{YEAR}"
        world.clock.pass_by(370 * 86_400)
        write(world.store, 3)
        world.store.sequencer.run()
        assert read(world.store, YEAR + 1)[0].origin == f"reads.example/meterkeep/v1/log/{YEAR + 1}"


# ---- a bit, anywhere -------------------------------------------------------------------------


def tiles_under(world: World) -> list[str]:
    """Return the names of every tile and bundle that the newest checkpoint stands on."""
    size = read(world.store)[0].size
    tiles = [
        Tile(level, index, width)
        for level in (None, 0, 1)
        for index in range(-(-size // 256))
        if (width := width_at(level, index, size))
    ]
    return [f"log/{YEAR}/{tile.path}" for tile in tiles]


@pytest.mark.parametrize("which", range(7))
def test_a_bit_flipped_in_any_tile_is_found_by_the_next_start_and_the_next_pass(
    folder_settings: Settings, which: int
) -> None:
    clock = FakeClock()
    with opened(folder_settings, clock) as world:
        write(world.store, 600)
    with opened(folder_settings, clock) as world:
        names = tiles_under(world)
        assert len(names) == 7
        assert world.store.sequencer.run()
        body = world.steal(names[which])
        flip(world, names[which], len(body) // 2)
        clock.pass_by(3)
        for find in (world.store.sequencer.check, world.store.sequencer.run):
            with pytest.raises(TamperedError) as found:
                find()
            assert found.value.what in {"tile", "leaf"}
        world.forge(names[which], body)
        clock.pass_by(3)
        world.store.sequencer.check()
        assert world.store.sequencer.run()
