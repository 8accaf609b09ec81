"""Each home of the cast answers, or refuses, as its story says; what is read is what was drawn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pytest

from ingest.demo import Planted, plant
from ingest.synthetic import Home, Span, homes, span
from ingest.synthetic import facts as said
from store.access.deciding import decide
from store.grants import Grant, Question, Refused
from store.initialising import initialise
from store.parts import Store
from store.reads import (
    DAY_SLOTS,
    HALF_HOUR,
    MISSING,
    Mpxn,
    Register,
    Series,
    Window,
    local_midnight,
)
from store.settings import Settings
from store.wiring import open_store

TODAY = date(2026, 11, 22)


@dataclass
class Noon:
    """Noon of the day on which the demo was planted."""

    def now(self) -> float:
        return local_midnight(TODAY) * HALF_HOUR + 43_200.0

    def monotonic(self) -> float:
        return self.now()


@dataclass
class World:
    store: Store
    planted: Planted
    homes: list[Home]
    days: Span

    def ask(self, who: str, mpxn: Mpxn, **how: object) -> Grant:
        code = json.loads(self.planted.clients[who].read_text())["client_id"]
        client = self.store.facts.client(code)
        assert client is not None
        asked = {"srv": "4.8.1", "window": Window(self.days.start, self.days.end)} | how
        question = Question(party=client.party, mpxn=mpxn, **asked)  # type: ignore[arg-type]
        with self.store.database.read() as connection:
            grounds = self.store.facts.grounds(connection, mpxn, code)
        return decide(question, grounds, self.store.policy, self.store.clock.now())

    def read(self, grant: Grant) -> Series:
        [series] = asyncio.run(self.store.reads.read(grant)).series
        return series

    def refusal(self, who: str, mpxn: Mpxn, **how: object) -> str:
        with pytest.raises(Refused) as refused:
            self.ask(who, mpxn, **how)
        return refused.value.code


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("demo")
    settings = Settings.from_environment({"METERKEEP_HOME": str(folder / "store")})
    initialise(settings)
    with open_store(settings, clock=Noon()) as store:
        out = folder / "clients"
        planted = plant(store, homes=10, months=13, seed=7, today=TODAY, out=out)
        yield World(store, planted, homes(10, 13, TODAY, 7), span(13, TODAY))


def drawn(home: Home, register: Register, days: Span) -> tuple[np.ndarray, np.ndarray]:
    """What the deliveries of one home say together, the later over the earlier."""
    energy = np.full((days.days, DAY_SLOTS), MISSING, np.uint16)
    states = np.zeros((days.days, DAY_SLOTS), np.uint8)
    for part in home.deliveries:
        mine = part.register == register
        rows = part.day[mine] - days.first
        says = part.states[mine] > 0
        energy[rows] = np.where(says, part.energy[mine], energy[rows])
        states[rows] = np.where(says, part.states[mine], states[rows])
    return energy.ravel(), states.ravel()


@pytest.mark.parametrize(
    ("number", "point", "srv", "register"),
    [
        (0, "electricity", "4.8.1", Register.ACTIVE_IMPORT),
        (0, "gas", "4.8.1", Register.GAS_IMPORT),
        (7, "export", "4.8.3", Register.ACTIVE_EXPORT),
    ],
)
def test_the_adviser_reads_back_all_months_exactly_late_reads_over_the_first(
    world: World, number: int, point: str, srv: str, register: Register
) -> None:
    home = world.homes[number]
    mpxn = getattr(home.points, point)
    series = world.read(world.ask(said.ADVISER, mpxn, role="OU", srv=srv, registers=(register,)))
    energy, states = drawn(home, register, world.days)
    assert np.array_equal(series.energy, energy)
    assert np.array_equal(series.states, states)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (said.EXPIRED, "consent_expired"),
        (said.WITHDRAWN, "consent_withdrawn"),
        (said.DAYS_ONLY, "granularity_not_consented"),
        (said.WITHOUT, "consent_missing"),
        (5, "before_move_in"),
    ],
)
def test_the_adviser_is_refused_with_its_code(world: World, number: int, code: str) -> None:
    mpan = world.homes[number].points.electricity
    assert world.refusal(said.ADVISER, mpan) == code


def test_days_may_be_read_where_days_were_allowed(world: World) -> None:
    mpan = world.homes[said.DAYS_ONLY].points.electricity
    assert world.ask(said.ADVISER, mpan, granularity="P1D").withheld == ()


def test_the_reads_of_those_who_left_stay_with_them(world: World) -> None:
    home = world.homes[5]
    assert home.moved_in is not None
    mine = Window(home.moved_in, world.days.end)
    grant = world.ask(
        said.ADVISER, home.points.electricity, window=mine, registers=(Register.ACTIVE_IMPORT,)
    )
    energy, _ = drawn(home, Register.ACTIVE_IMPORT, world.days)
    assert np.array_equal(world.read(grant).energy, energy[home.moved_in - world.days.start :])
    part = world.ask(said.ADVISER, home.points.electricity, partial=True)
    assert [held.window.end for held in part.withheld] == [home.moved_in]


def test_a_supplier_reads_for_its_own_time_and_as_its_customers_chose(world: World) -> None:
    def ask(number: int, **how: object) -> str:
        mpan = world.homes[number].points.electricity
        return world.refusal(said.supplier(number), mpan, role="IS", **how)

    switched = world.homes[said.SWITCHED].points.electricity
    change = said.switch(world.days)
    assert ask(said.SWITCHED, granularity="P1D") == "not_registered"
    world.ask(
        said.supplier(said.SWITCHED), switched, role="IS", granularity="P1D",
        window=Window(change, world.days.end),
    )  # fmt: skip
    assert ask(said.OPTED_OUT, granularity="P1D") == "opted_out"
    assert ask(3) == "granularity_not_consented"
    opted_in = world.homes[said.OPTED_IN].points.electricity
    for granularity in ("PT30M", "P1D", "P1M"):
        world.ask(said.SUPPLIER, opted_in, role="IS", granularity=granularity)
