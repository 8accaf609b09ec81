"""A customer learns of the files that held their reads, long after the files are gone."""

from __future__ import annotations

from sqlalchemy import insert, select

from store import tables
from store.audit.access_report import report
from store.audit.search import LogSearch
from store.audit.told import told
from store.audit.wanted import Wanted
from store.orders import export_customers
from store.orders.book import LIFE
from store.reads import Mpxn
from tests.store.exporting import Supplier
from tests.world import DAY, World, days_of, mpan, several, window_of

MINE, OTHER = mpan(1), mpan(2)


def about(world: World, mpxn: Mpxn, **more: object) -> list[tuple[str, str]]:
    """Return kind and action of the entries about who lives at a meter point, oldest first."""
    assert world.store.sequencer.run()
    subjects = world.store.facts.customers(mpxn)
    wanted = Wanted(subjects=subjects, **more)  # type: ignore[arg-type]
    page = LogSearch(world.store.database).page(wanted)
    return [(one.noted.kind, one.noted.action) for one in page.found]


def exported(world: World) -> Supplier:
    supplier = Supplier(world)
    world.keep(several(days_of(MINE, (DAY, [100] * 48)), days_of(OTHER, (DAY, [55] * 48))))
    supplier.supplies(MINE, window_of(DAY))
    assert supplier.exports(window_of(DAY)).state == "done"
    return supplier


def test_a_customer_finds_the_export_that_held_their_reads(world: World) -> None:
    supplier = exported(world)
    assert about(world, MINE) == [("export", "export")]
    assert about(world, OTHER) == []
    assert about(world, MINE, party=supplier.code, kind="export") == [("export", "export")]
    assert about(world, MINE, party="p_0000000000000000") == []
    assert about(world, MINE, start=0, end=1) == []
    world.allow(MINE)
    world.answer(MINE, window_of(DAY))
    assert [kind for kind, _ in about(world, MINE)] == ["export", "intent"]


def test_a_report_tells_of_it_and_of_nobody_else(world: World) -> None:
    exported(world)
    assert world.store.sequencer.run()
    search, names = LogSearch(world.store.database), world.store.facts.parties.names()
    page = search.page(Wanted(subjects=world.store.facts.customers(MINE)))
    text = report([told(one, names) for one in page.found], "x", 0.0, {})
    for words in ("1 x allowed", "supplier", "put into a file", "1 July 2025", "by half-hours"):
        assert words in text, text
    assert MINE.text not in text


def test_what_an_export_was_allowed_goes_and_whose_reads_it_held_stays(world: World) -> None:
    exported(world)
    world.clock.pass_by(2 * LIFE)
    [gone] = world.store.exports.expired()
    world.store.exports.forget(gone.id)
    assert world.count(tables.export_meters) == 0
    assert about(world, MINE) == [("export", "export")]


def test_an_erased_customer_stands_in_no_export(world: World) -> None:
    exported(world)
    [subject] = world.store.facts.customers(MINE)
    world.store.facts.erase([MINE], "asked for")
    with world.store.database.read() as connection:
        kept = connection.execute(select(tables.export_customers.c.page)).scalars().all()
        assert export_customers.entries(connection, [subject]) == set()
    assert not any(subject in page for page in kept)


def test_each_of_many_customers_is_found_and_nobody_between_them(world: World) -> None:
    subjects = [n.to_bytes(2, "big") * 8 for n in range(1, 1_001, 2)]
    row = {
        "id": "x_1", "party": "p", "state": "done", "created": 0.0, "expires": 0.0, "meters": 500,
        "question": "{}", "recipient": "", "told": "{}", "epoch": 0, "lease": 0.0,
        "entry": b"e" * 16,
    }  # fmt: skip
    with world.store.database.write() as connection:
        connection.execute(insert(tables.exports), row)
        keys = [{"subject": s, "number": 1, "generation": 1, "wrapped": b"", "check": b""}
                for s in subjects]  # fmt: skip
        connection.execute(insert(tables.deks), keys)
    for some in export_customers.pages(subjects):
        with world.store.database.write() as connection:
            export_customers.put(connection, "x_1", some)
    assert world.count(tables.export_customers) == -(-500 // export_customers.PAGE)
    with world.store.database.write() as connection:
        for subject in subjects:
            assert export_customers.entries(connection, [subject]) == {b"e" * 16}
        for n in (0, 2, 500, 1_002):
            assert export_customers.entries(connection, [n.to_bytes(2, "big") * 8]) == set()
        export_customers.forget(connection, *subjects[:97])
        left = [s for s in subjects if export_customers.entries(connection, [s])]
        assert left == subjects[97:]


def test_who_was_erased_while_it_was_decided_is_not_written_down(world: World) -> None:
    with world.store.database.write() as connection:
        export_customers.put(connection, "x_1", [[b"s" * 16]])
    assert world.count(tables.export_customers) == 0
