"""Rows written or changed by hand grant nothing: whoever writes the database is not believed."""

from __future__ import annotations

import hmac
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import delete, insert, select, update

from store import tables
from store.access.deciding import Refused
from store.envelope import bind, fields
from store.errors import TamperedError
from store.facts.door import Supply
from store.initialising import initialise
from store.keepers.local import FileKek
from store.log.writer import Entry, Kind
from store.settings import Settings
from store.sql import migrate
from store.sql.database import Database
from tests.world import ALL, DAY, World, days_of, mpan, opened, window_of

HOME, OTHER = mpan(1), mpan(2)
WINDOW = window_of(DAY)


def by_hand(world: World, *statements: Any) -> None:
    with world.store.database.write() as connection:
        for statement in statements:
            connection.execute(statement)


def row_of(world: World, table: Any) -> dict[str, Any]:
    with world.store.database.read() as connection:
        return dict(connection.execute(select(table)).mappings().first() or {})


def nothing(world: World, name: str = "reader", **asked: Any) -> None:
    """See that nothing at all is granted of the home."""
    with pytest.raises((TamperedError, Refused)):
        world.grant(HOME, WINDOW, name, **asked)


@pytest.fixture
def kept(world: World) -> World:
    world.keep(days_of(HOME, (DAY, [1, 2])), days_of(OTHER, (DAY, [3, 4])))
    world.allow(HOME)
    assert world.grant(HOME, WINDOW).parts
    return world


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("start", {"start": 0}),
    ("state", {"state": "granted"}),
    ("expires", {"expires": None}),
    ("reminder", {"reminder_due": 9e12}),
    ("granularity", {"granularity": "PT30M"}),
    ("purpose", {"purpose": "research"}),
    ("registers", {"registers": ""}),
    ("tenancy", {"tenancy": 7}),
]


@pytest.mark.parametrize("change", [c for _, c in CHANGES], ids=[n for n, _ in CHANGES])
def test_a_consent_that_was_widened_by_hand_grants_nothing(
    world: World, change: dict[str, Any]
) -> None:
    world.keep(days_of(HOME, (DAY, [1, 2])))
    identity = world.allow(
        HOME, window_of(DAY, 2), granularity="P1D", expires=world.clock.now() + 10,
        registers=[next(iter(world.store.policy.registers["4.8.1"]))],
    )  # fmt: skip
    if "state" in change:
        world.store.facts.withdraw_consent(identity)
    by_hand(world, update(tables.consents).values(**change))
    with pytest.raises(TamperedError):
        world.grant(HOME, WINDOW)


def test_a_consent_written_by_hand_grants_nothing(kept: World) -> None:
    row = row_of(kept, tables.consents)
    stranger = kept.party("stranger")
    for entry in (row["entry"], os.urandom(16), b""):
        forged = row | {"id": "c_" + os.urandom(8).hex(), "party": stranger, "entry": entry}
        by_hand(kept, insert(tables.consents).values(forged))
        nothing(kept, "stranger")


def test_another_partys_consent_taken_over_grants_nothing(kept: World) -> None:
    stranger = kept.party("stranger")
    by_hand(kept, update(tables.consents).values(party=stranger))
    with pytest.raises(TamperedError):
        kept.grant(HOME, WINDOW, "stranger")


def test_a_consent_carried_to_another_meter_point_grants_nothing(kept: World) -> None:
    by_hand(kept, update(tables.consents).values(tag=kept.store.keys.tags.of(OTHER)))
    with pytest.raises(TamperedError):
        kept.grant(OTHER, WINDOW)


def test_a_withdrawn_consent_put_back_row_and_all_grants_nothing(kept: World) -> None:
    """The row is byte for byte what it once was, beside its own leaf: not the newest, though."""
    before = row_of(kept, tables.consents)
    kept.store.facts.withdraw_consent(before["id"])
    by_hand(kept, update(tables.consents).values(before))
    with pytest.raises(TamperedError):
        kept.grant(HOME, WINDOW)


def test_a_leaf_made_by_hand_beside_the_row_grants_nothing(kept: World) -> None:
    """Who writes the database can write leaves and details too; a mark needs the store's key."""
    row = row_of(kept, tables.consents)
    stranger = kept.party("stranger")
    with kept.store.database.write() as connection:
        [leaf] = kept.store.log.append(
            connection, Entry(Kind.FACT, "consent granted", detail={"facts": ["00" * 16]})
        )
    forged = row | {"id": "c_0000000000000000", "party": stranger, "entry": leaf}
    event = row_of(kept, tables.consent_events) | {"consent": forged["id"], "entry": leaf}
    by_hand(
        kept,
        insert(tables.consents).values(forged),
        insert(tables.consent_events).values(event),
    )
    with pytest.raises(TamperedError):
        kept.grant(HOME, WINDOW, "stranger")


@pytest.mark.parametrize("what", ["leaf", "detail", "key"])
def test_a_fact_whose_leaf_is_gone_or_changed_grants_nothing(kept: World, what: str) -> None:
    entry = row_of(kept, tables.consents)["entry"]
    leaves, details = tables.leaves, tables.details
    by_hand(kept, {
        "leaf": delete(leaves).where(leaves.c.entry == entry),
        "detail": delete(details).where(details.c.entry == entry),
        "key": update(details).where(details.c.entry == entry).values(key=bytes(32)),
    }[what])  # fmt: skip
    with pytest.raises(TamperedError):
        kept.grant(HOME, WINDOW)


REGISTERED: list[tuple[str, dict[str, Any]]] = [
    ("start", {"start": 0}), ("end", {"end": None}), ("premises", {"premises": "nondomestic"}),
    ("role", {"role": "ES"}),
]  # fmt: skip


@pytest.mark.parametrize("change", [c for _, c in REGISTERED], ids=[n for n, _ in REGISTERED])
def test_a_registration_changed_by_hand_grants_nothing(kept: World, change: dict[str, Any]) -> None:
    party = kept.party("supplier", "IS", "ES")
    said = Supply(HOME, party, "IS", "domestic", window_of(DAY, 9))
    kept.store.facts.add_registrations([said])
    by_hand(kept, update(tables.registrations).values(**change))
    nothing(kept, "supplier", role="IS")
    nothing(kept, "supplier", role="ES", srv="4.8.3")


def test_a_registration_written_by_hand_grants_nothing(kept: World) -> None:
    party = kept.party("supplier", "IS")
    kept.store.facts.add_registrations([Supply(OTHER, party, "IS", "nondomestic", ALL)])
    row = row_of(kept, tables.registrations)
    row |= {"id": 99, "tag": kept.store.keys.tags.of(HOME)}
    by_hand(kept, insert(tables.registrations).values(row))
    with pytest.raises(TamperedError):
        kept.grant(HOME, WINDOW, "supplier", role="IS")


def test_a_forged_registration_is_not_laundered_by_the_next_statement(kept: World) -> None:
    party = kept.party("supplier", "IS")
    kept.store.facts.add_registrations([Supply(HOME, party, "IS", "domestic", ALL)])
    by_hand(kept, update(tables.registrations).values(premises="nondomestic"))
    ended = Supply(HOME, party, "IS", "domestic", window_of(DAY))
    with pytest.raises(TamperedError):
        kept.store.facts.add_registrations([replace(ended, window=window_of(0, DAY + 1))])


def test_a_forged_consent_is_not_laundered_by_a_reminder(kept: World) -> None:
    by_hand(kept, update(tables.consents).values(start=0, granularity="P1D"))
    with pytest.raises(TamperedError):
        kept.store.facts.remind_consent(row_of(kept, tables.consents)["id"])


def test_an_opt_out_that_was_turned_into_an_opt_in_grants_nothing(kept: World) -> None:
    party = kept.party("supplier", "IS")
    kept.store.facts.add_registrations([Supply(HOME, party, "IS", "domestic", ALL)])
    kept.store.facts.choose(HOME, party, "PT30M", "opt-out")
    by_hand(kept, update(tables.supply_choices).values(choice="opt-in", at=DAY * 86_400.0))
    nothing(kept, "supplier", role="IS")


def test_a_tenancy_moved_by_hand_grants_nothing(kept: World) -> None:
    by_hand(kept, update(tables.tenancies).values(start=tables.tenancies.c.start + 1))
    with pytest.raises(TamperedError):
        kept.grant(HOME, WINDOW)


def test_a_role_or_a_key_written_by_hand_is_nobody(kept: World) -> None:
    code = kept.party("reader")
    key = row_of(kept, tables.client_keys) | {"kid": "mine", "jwk": '{"kid":"mine"}'}
    by_hand(kept, insert(tables.client_keys).values(key | {"party": code}))
    with pytest.raises(TamperedError):
        kept.store.facts.client(code)
    by_hand(kept, delete(tables.client_keys).where(tables.client_keys.c.kid == "mine"))
    assert kept.store.facts.client(code) is not None
    by_hand(kept, update(tables.parties).where(tables.parties.c.code == code).values(
        roles="IS OU operator"))  # fmt: skip
    with pytest.raises(TamperedError):
        kept.store.facts.client(code)
    with pytest.raises(TamperedError):
        kept.grant(HOME, WINDOW)


@pytest.mark.parametrize("column", ["leaf", "key", "detail"])
def test_a_party_once_found_in_order_is_held_to_its_leaf_again(kept: World, column: str) -> None:
    code = kept.party("reader")
    assert kept.store.facts.client(code) is not None
    table = tables.leaves if column == "leaf" else tables.details
    by_hand(kept, update(table).values({column: "{}" if column == "detail" else b"\1{}"}))
    with pytest.raises(TamperedError):
        kept.store.facts.client(code)


def test_no_leaf_tells_a_tag(kept: World) -> None:
    """The detail of a leaf outlives the customer; the tag would find them again."""
    kept.store.facts.add_tenancy(HOME, (DAY + 1) * 48)
    tags = {kept.store.keys.tags.of(one).hex() for one in (HOME, OTHER)}
    with kept.store.database.read() as connection:
        told = " ".join(connection.execute(select(tables.details.c.detail)).scalars())
    assert not [tag for tag in tags if tag in told]


def test_an_erased_customer_stays_erased_and_not_tampered(kept: World) -> None:
    kept.store.facts.erase([HOME], "asked to")
    with pytest.raises(Refused) as refused:
        kept.grant(HOME, WINDOW)
    assert refused.value.code == "erased"


def _of_the_first_schema(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Make a store as the first program made it; return the tag of HOME there."""
    settings.home.mkdir()
    FileKek.create(Path(settings.kek))
    database, store, lookup = Database(settings.database_url), os.urandom(16), os.urandom(32)
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "CURRENT", "0001")
        migrate.upgrade(database)
    context = fields(b"meterkeep secret v1", store, b"lookup", b"\1")
    wrapped = FileKek(Path(settings.kek)).wrap(bind(lookup, context), context)
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO head VALUES (1, ?, 0, 0, 0)", (store,))
        row = ("lookup", 1, wrapped, 1.0)
        connection.exec_driver_sql("INSERT INTO secrets VALUES (?, ?, ?, ?)", row)
    database.close()
    return hmac.digest(lookup, fields(b"meterkeep mpxn v1", HOME.text.encode()), "sha256")


def test_a_store_of_the_first_schema_is_stated_anew_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.from_environment({"METERKEEP_HOME": str(tmp_path / "old")})
    code, tag = "p_0", _of_the_first_schema(settings, monkeypatch)
    database = Database(settings.database_url)
    with database.write() as connection:
        party = {"code": code, "name": "reader", "roles": "OU", "entry": bytes(16)}
        connection.execute(insert(tables.parties), party)
        connection.exec_driver_sql(
            "INSERT INTO consents (id, tag, tenancy, party, purpose, start, granularity, registers,"
            " granted, evidence, reference, state, version, entry) VALUES"
            " ('c_1', ?, 0, 'p_0', 'advice', 0, 'PT30M', '', 1.5, x'00', 'r', 'granted', 3, x'00')",
            (tag,),
        )
    database.close()
    shutil.copytree(settings.home, tmp_path / "copy")
    initialise(settings)
    with opened(settings) as world:
        world.parties["reader"] = code
        world.keep(days_of(HOME, (DAY, [1, 2])))
        assert world.grant(HOME, WINDOW).parts[0].reference == "c_1"
        with world.store.database.read() as connection:
            assert world.store.facts.lives.rows.rebuilt(connection)["c_1"]["version"] == 3
        by_hand(world, update(tables.consents).values(start=1))
    initialise(settings)  # not a second time: it would believe what was forged since
    with opened(settings) as world:
        world.parties["reader"] = code
        with pytest.raises(TamperedError):
            world.grant(HOME, WINDOW)


def test_details_are_read_as_they_were_committed(kept: World) -> None:
    """A mark added to a genuine detail breaks the leaf's commitment."""
    entry = row_of(kept, tables.consents)["entry"]
    details = tables.details
    with kept.store.database.write() as connection:
        text = connection.execute(
            select(details.c.detail).where(details.c.entry == entry)
        ).scalar_one()
        changed = orjson.dumps(orjson.loads(text) | {"more": 1}).decode()
        connection.execute(update(details).where(details.c.entry == entry).values(detail=changed))
    with pytest.raises(TamperedError):
        kept.grant(HOME, WINDOW)
