"""What ended since a backup stays ended after it is put back, and what cannot be known is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from store import tables
from store.errors import InputError
from store.facts.door import Supply
from store.life.backup import back_up, put_back
from store.life.restoring import Restored, Restoring
from store.log.writer import Entry, Kind
from store.reads import Mpxn, Window
from store.settings import Settings
from tests.store.checks.test_checking import findings
from tests.store.life.test_restoring import code, lose
from tests.world import ALL, DAY, FakeClock, World, days_of, mpan, opened, window_of

HOME, NEW = mpan(1), mpan(2)
FULL = list(range(48))
NOON = DAY * 48 + 24
Since = Callable[[World], object]


def supplies(world: World, name: str, start: int, end: int = ALL.end, home: Mpxn = HOME) -> None:
    window = Window(start, end)
    supply = Supply(home, world.party(name, "IS"), "IS", "nondomestic", window)
    world.store.facts.add_registrations([supply])


class Disaster:
    """A store is backed up, goes on, and loses its database."""

    def __init__(self, settings: Settings, clock: FakeClock, folder: Path) -> None:
        self.settings, self.clock, self.folder = settings, clock, folder
        with opened(settings, clock) as world:
            world.keep(days_of(HOME, (DAY, FULL)))
            world.allow(HOME)
            supplies(world, "old", 0)
            world.store.keys.secrets.of("token-signing")
            world.store.journal.ready()

    def befalls(self, since: Since) -> None:
        where = self.settings.database_url, Path(self.settings.objects)
        with opened(self.settings, self.clock) as world:
            people(world)
            back_up(*where, self.folder, self.clock)
        with opened(self.settings, self.clock) as world:
            people(world)
            self.clock.pass_by(1_000)
            since(world)
        lose(self.settings)
        put_back(self.folder, *where)

    def restored(self, then: Since, **how: bool) -> Restored:
        with opened(self.settings, self.clock) as world:
            people(world)
            done = Restoring(world.store).run(**how)
            then(world)
            world.store.sequencer.check()
            assert findings(world) == []
        return done


def people(world: World) -> None:
    named = select(tables.parties.c.name, tables.parties.c.code)
    with world.store.database.read() as connection:
        world.parties = dict(map(tuple, connection.execute(named)))


@pytest.fixture
def disaster(folder_settings: Settings, clock: FakeClock, tmp_path: Path) -> Disaster:
    return Disaster(folder_settings, clock, tmp_path / "backup")


def test_a_supplier_that_lost_the_customer_since_does_not_get_them_back(disaster: Disaster) -> None:
    disaster.befalls(lambda world: supplies(world, "new", NOON))

    def look(world: World) -> None:
        assert world.reads(HOME, Window(DAY * 48, NOON), name="old", role="IS") == FULL[:24]
        with pytest.raises(Exception, match="not registered"):
            world.grant(HOME, window_of(DAY), "old", role="IS")
        assert code(world, HOME, "old", role="IS") == "not_registered"

    done = disaster.restored(look)
    assert done.done == {"registration end": 1}
    assert done.restate == {"party add": 1, "registration add": 1}  # what was given is said again


def test_a_registration_that_began_and_ended_since_is_never_open_again(disaster: Disaster) -> None:
    def since(world: World) -> None:
        supplies(world, "old", DAY * 48, home=NEW)
        supplies(world, "new", NOON, home=NEW)

    disaster.befalls(since)

    def look(world: World) -> None:
        supplies(world, "old", DAY * 48, home=NEW)  # its file is loaded again
        [listed] = world.store.facts.registrations.listing(NEW)
        assert listed.registration.window == Window(DAY * 48, NOON)

    assert disaster.restored(look).done == {"registration end": 1}


def test_a_second_restore_from_the_same_backup_ends_it_too(disaster: Disaster) -> None:
    disaster.befalls(lambda world: supplies(world, "new", NOON))
    disaster.restored(lambda world: world.store.sequencer.run())
    lose(disaster.settings)
    put_back(disaster.folder, disaster.settings.database_url, Path(disaster.settings.objects))
    disaster.restored(lambda world: code(world, HOME, "old", role="IS"))


def test_a_move_in_at_a_home_that_the_backup_does_not_know_is_asked_for(
    disaster: Disaster,
) -> None:
    """Else the files are taken in again, and one consent releases two customers' reads."""

    def since(world: World) -> None:
        world.keep(days_of(NEW, (DAY, FULL)))
        world.store.facts.add_tenancy(NEW, NOON)

    disaster.befalls(since)
    with opened(disaster.settings, disaster.clock) as world:
        leaves = world.count(tables.leaves)
        with pytest.raises(InputError) as asked:
            Restoring(world.store).run()
        assert asked.value.code == "restate"
        assert world.count(tables.leaves) == leaves
    done = disaster.restored(lambda _: None, restated=True)
    assert (done.restate, done.commits) == ({"tenancy add": 1}, 1)


def test_a_commit_that_was_left_out_stays_out(disaster: Disaster) -> None:
    disaster.befalls(lambda world: world.store.writes.revert(1))
    done = disaster.restored(lambda world: expect(world, [None] * 48))
    assert done.done == {"ingest revert": 1}


def expect(world: World, values: Sequence[int | None]) -> None:
    assert world.reads(HOME, window_of(DAY)) == values


def test_exports_are_sealed_to_the_age_key_that_was_stated_last(disaster: Disaster) -> None:
    """The one before may be the reason why there is a new one."""
    newest = "age1" + "q" * 58

    def recipient(world: World) -> str | None:
        with world.store.database.read() as connection:
            return world.store.facts.parties.recipient(connection, world.parties["old"])

    disaster.befalls(lambda w: w.store.facts.parties.add_age(w.parties["old"], newest))
    found: list[str | None] = []
    done = disaster.restored(lambda world: found.append(recipient(world)))
    assert (found, done.done) == ([newest], {"party key": 1})


def test_tokens_of_before_open_nothing_whether_revoked_or_not(disaster: Disaster) -> None:
    made: list[list[bytes]] = []

    def signing(world: World) -> list[bytes]:
        secrets = world.store.keys.secrets
        return [secrets.of("token-signing", n) for n, _ in secrets.generations("token-signing")]

    def since(world: World) -> None:
        made.append(signing(world))
        world.store.keys.secrets.rotate("token-signing")
        made.append(signing(world))
        world.store.facts.withdraw_consent(world.store.facts.consents()[0].id)

    disaster.befalls(since)
    disaster.restored(lambda world: made.append(signing(world)))
    before, rotated, after = made
    assert len(after) == 1
    assert not set(after) & {*before, *rotated}


def test_whom_an_ingest_brought_back_before_the_restore_is_erased_again(
    disaster: Disaster,
) -> None:
    def since(world: World) -> None:
        world.keep(days_of(NEW, (DAY, FULL)))
        world.store.facts.erase([NEW], "a letter")

    disaster.befalls(since)
    with opened(disaster.settings, disaster.clock) as world:
        people(world)
        world.keep(days_of(NEW, (DAY, FULL)))
        world.allow(NEW)
    done = disaster.restored(lambda world: code(world, NEW) == "erased" or pytest.fail("back"))
    assert done.done == {"keys erase": 1}


def test_where_only_a_later_customer_was_erased_no_half_hour_is_lost_in_silence(
    disaster: Disaster,
) -> None:
    """The backup knew neither customer; what cannot be told apart is refused, and counted."""

    def since(world: World) -> None:
        world.keep(days_of(NEW, (DAY, FULL)))
        world.store.facts.add_tenancy(NEW, NOON)
        world.store.facts.erasing.erase([NEW], "a letter", NOON)

    disaster.befalls(since)

    def look(world: World) -> None:
        commit = world.keep(days_of(NEW, (DAY - 1, FULL), (DAY, FULL)))
        assert (commit.erased, commit.days) == (3, 0)  # a day astride counts for both

    disaster.restored(look, restated=True)


def test_what_retention_had_let_go_since_is_let_go_again(disaster: Disaster) -> None:
    disaster.befalls(lambda w: w.store.log.write(Entry(Kind.OPERATE, "retain months")))
    assert disaster.restored(lambda _: None).retained


def test_what_nobody_had_let_go_stays(disaster: Disaster) -> None:
    disaster.befalls(lambda world: world.store.facts.consents())
    assert not disaster.restored(lambda world: expect(world, FULL)).retained
