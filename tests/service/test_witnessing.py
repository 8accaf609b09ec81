"""Our log and its witnesses: who signs, who is away, who has seen another history."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.witnessing import REST, HttpWitnesses, Named, Policy, asking, load
from store.errors import InputError, LogError, StoreError
from store.initialising import initialise
from store.log.pace import MOST_WAIT, Pace
from store.log.writer import Entry, Kind
from store.proofs.copies import copies_in
from store.proofs.merkle import consistency_proof
from store.proofs.notes import Algorithm, Signer, Verifier, open_note
from store.proofs.report import status_of
from store.proofs.verdicts import Status, Trust
from store.proofs.verifying import verify_all
from store.proofs.witness import Witness
from store.settings import Settings
from tests.copies import LOG, Book, leaf_of
from tests.world import FakeClock, World, opened

SIGNERS = [
    Signer(f"witness.example/w{at}", bytes([at] * 32), Algorithm.COSIGNATURE) for at in (1, 2)
]
BOOK = Book.of(300)


class Net:
    """A network of witnesses, each a real one behind its address, and what may befall it."""

    def __init__(self, folder: Path, clock: FakeClock, logs: Trust | None = None) -> None:
        self.clock, self.asked = clock, [0, 0]
        self.befalls: dict[int, Callable[[httpx.Request], httpx.Response]] = {}
        self.witnesses = [
            Witness(signer, logs or Trust([LOG.verifier]), folder / signer.name[-2:], clock)
            for signer in SIGNERS
        ]

    def answer(self, request: httpx.Request) -> httpx.Response:
        at = int(request.url.host[1]) - 1
        self.asked[at] += 1
        assert (request.method, request.url.path) == ("POST", "/w/add-checkpoint")
        if at in self.befalls:
            return self.befalls[at](request)
        reply = self.witnesses[at].add_checkpoint(request.read())
        return httpx.Response(reply.status, content=reply.body,
                              headers={"content-type": reply.media})  # fmt: skip

    def client(self, quorum: int) -> HttpWitnesses:
        named = [
            Named(signer.verifier, f"http://w{at}/w/add-checkpoint")
            for at, signer in enumerate(SIGNERS, 1)
        ]
        return HttpWitnesses(Policy(named, quorum), self.clock, httpx.MockTransport(self.answer))


def gone(_request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("nobody listens")


@pytest.fixture
def net(tmp_path: Path, clock: FakeClock) -> Net:
    return Net(tmp_path / "net", clock)


def cosigned(witnesses: HttpWitnesses, size: int, book: Book = BOOK) -> list[str]:
    """Return who cosigned the first ``size`` leaves."""
    note = book.checkpoint(size)
    lines = witnesses.cosign(note, lambda old: consistency_proof(old, size, book.node))
    keys = [LOG.verifier, *(signer.verifier for signer in SIGNERS)]
    signed = open_note(note + "".join(lines).encode(), keys).signed
    return [each.name[-2:] for each in signed[1:]]


def test_every_witness_signs_each_step(net: Net) -> None:
    witnesses = net.client(2)
    for size in (0, 1, 256, 256, 300):
        assert cosigned(witnesses, size) == ["w1", "w2"]
    assert net.asked == [5, 5]  # what each knows is remembered: one request a step


def test_a_witness_that_knows_less_is_given_the_proof_from_there(net: Net) -> None:
    cosigned(net.client(2), 10)
    net.befalls[0] = gone
    witnesses = net.client(1)
    assert cosigned(witnesses, 200) == ["w2"]
    del net.befalls[0]
    net.clock.pass_by(REST)
    assert cosigned(witnesses, 300) == ["w1", "w2"]


def test_a_year_begins_anew_at_every_witness(net: Net) -> None:
    witnesses = net.client(2)
    cosigned(witnesses, 300)
    following = Book(BOOK.leaves, Signer(LOG.name.replace("2026", "2027"), LOG.seed))
    note = following.checkpoint(3)
    lines = witnesses.cosign(note, lambda old: consistency_proof(old, 3, following.node))
    assert len(lines) == 2


def test_one_that_is_away_is_left_alone_for_a_while(net: Net) -> None:
    witnesses = net.client(0)
    net.befalls[0] = gone
    assert cosigned(witnesses, 10) == ["w2"]
    assert cosigned(witnesses, 20) == ["w2"]
    assert net.asked[0] == 1
    net.clock.pass_by(REST)
    assert cosigned(witnesses, 30) == ["w2"]
    net.clock.pass_by(REST)  # twice as long by now
    assert cosigned(witnesses, 40) == ["w2"]
    assert net.asked[0] == 2


def test_without_its_quorum_a_checkpoint_is_not_published(net: Net) -> None:
    witnesses = net.client(2)
    net.befalls[0] = gone
    for size in (10, 20):
        with pytest.raises(StoreError) as error:
            cosigned(witnesses, size)
        assert error.value.code == "log_unwitnessed"
    assert net.asked[0] == 2  # the quorum needs it: it is asked again at once


BROKEN: dict[str, httpx.Response] = {
    "fault": httpx.Response(500),
    "unknown log": httpx.Response(404),
    "unknown key": httpx.Response(403),
    "redirect": httpx.Response(307, headers={"location": "http://elsewhere/"}),
    "nothing": httpx.Response(200),
    "nonsense": httpx.Response(200, content=b"\xff\n"),
    "a size that is none": httpx.Response(
        409, content=b"ten\n", headers={"content-type": "text/x.tlog.size"}
    ),
    "no size": httpx.Response(409, content=b"10\n"),
    "without end": httpx.Response(200, content=b"a" * 100_000),
    "another's": httpx.Response(200, text=SIGNERS[1].line(BOOK.checkpoint(10).decode()
                                                         .partition("\n\n")[0] + "\n", 1)),
    "of another text": httpx.Response(200, text=SIGNERS[0].line("else\n", 1)),
}  # fmt: skip


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_what_is_no_cosignature_counts_for_none(net: Net, answer: httpx.Response) -> None:
    net.befalls[0] = lambda _: answer
    assert cosigned(net.client(1), 10) == ["w2"]
    assert cosigned(net.client(0), 10) == ["w2"]


def test_an_answer_byte_by_byte_is_not_waited_for(net: Net) -> None:
    def slowly() -> Iterator[bytes]:
        for _ in range(100):
            net.clock.pass_by(2.9)
            yield b"a"

    net.befalls[0] = lambda _: httpx.Response(200, content=slowly())
    before = net.clock.ticks
    assert cosigned(net.client(1), 10) == ["w2"]
    assert net.clock.ticks - before < 10


def test_a_fork_is_told_as_one(net: Net) -> None:
    """One witness was shown the other history: its refusal outweighs the other's signature."""
    forked = Book([*BOOK.leaves[:5], leaf_of(5, party="p_2"), *BOOK.leaves[6:]])
    cosigned(net.client(0), 8)
    for size in (8, 9, 300):
        with pytest.raises(LogError) as error:
            cosigned(net.client(0), size, forked)
        assert error.value.code == "log_forked"
    assert cosigned(net.client(2), 300) == ["w1", "w2"]  # the true one goes on


def test_a_log_that_shrank_is_told_as_forked(net: Net) -> None:
    cosigned(net.client(0), 200)
    for witnesses in (net.client(0), net.client(2)):
        with pytest.raises(LogError) as error:
            cosigned(witnesses, 100)
        assert error.value.code == "log_forked"


# ---- the policy ----------------------------------------------------------------------------------

KEY = SIGNERS[0].verifier.vkey


def test_a_policy_is_read(tmp_path: Path) -> None:
    path = tmp_path / "witnesses.toml"
    path.write_text(f'quorum = 1\n[[witness]]\nkey = "{KEY}"\nurl = "https://w.example/w1/"\n')
    policy = load(path)
    assert policy.quorum == 1
    assert policy.witnesses[0].url == "https://w.example/w1/add-checkpoint"
    path.write_text("")
    assert load(path) == Policy([], 0)


@pytest.mark.parametrize("text", [
    "quorum = 1", "quorum = -1", "quorum = true", 'quorum = "1"', "more = 1", "[", "witness = 1",
    f'[[witness]]\nkey = "{KEY}"', '[[witness]]\nkey = "x"\nurl = "http://x"',
    f'[[witness]]\nkey = "{LOG.verifier.vkey}"\nurl = "http://x"',
    f'[[witness]]\nkey = "{KEY}"\nurl = "ftp://x"', f'[[witness]]\nkey = "{KEY}"\nurl = "http:///"',
    f'[[witness]]\nkey = "{KEY}"\nurl = "http://x?a=b"',
    f'[[witness]]\nkey = "{KEY}"\nurl = "http://x"\nmore = 1',
    f'[[witness]]\nkey = "{KEY}"\nurl = "http://x"\n' * 2,
])  # fmt: skip
def test_what_is_no_policy_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "witnesses.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load(path)
    assert error.value.code == "bad_witnesses"


def test_a_policy_that_is_missing_is_no_policy(tmp_path: Path) -> None:
    settings = Settings.from_environment({"METERKEEP_WITNESSES": str(tmp_path / "none")})
    with pytest.raises(InputError), asking(settings):
        pass
    with asking(Settings.from_environment({})) as witnesses:
        assert witnesses is None


# ---- a store and its witnesses -------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Settings:
    settings = Settings.from_environment({"METERKEEP_HOME": str(tmp_path / "store")})
    initialise(settings)
    return settings


def key_of(settings: Settings) -> Verifier:
    with opened(settings) as world:
        return Verifier.parse(world.store.tree.vkeys()[0])


@pytest.fixture
def ours(place: Settings, tmp_path: Path, clock: FakeClock) -> Net:
    return Net(tmp_path / "net", clock, Trust([key_of(place)]))


def write(world: World) -> None:
    world.store.log.write(Entry(Kind.OPERATE, "something"))


def status(settings: Settings, quorum: int) -> Status:
    trust = Trust([key_of(settings), *(signer.verifier for signer in SIGNERS)], quorum)
    return status_of(verify_all(copies_in(Path(settings.objects) / "log"), trust))


def test_a_published_checkpoint_carries_its_cosignatures(place: Settings, ours: Net) -> None:
    with opened(place, ours.clock, witnesses=ours.client(2)) as world:
        for _ in range(3):
            write(world)
            assert world.store.sequencer.run()
    assert status(place, 2) is Status.CONSISTENT


def test_a_dead_witness_stops_nothing_where_none_is_needed(place: Settings, ours: Net) -> None:
    ours.befalls = {0: gone, 1: gone}
    with opened(place, ours.clock, witnesses=ours.client(0)) as world:
        write(world)
        assert world.store.sequencer.run()
    assert status(place, 0) is Status.CONSISTENT
    assert status(place, 1) is Status.UNKNOWN


async def asked(world: World, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(create_app(world.store))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8700") as http:
        return await http.get(path)


def pacing(world: World) -> Pace:
    store = world.store
    return Pace(store.sequencer, store.database, store.log, store.clock)


def test_a_dead_witness_stops_answers_where_it_is_needed(place: Settings, ours: Net) -> None:
    with opened(place, ours.clock, witnesses=ours.client(1)) as world:
        pace = pacing(world)
        write(world)
        pace.tick()
        ours.befalls = {0: gone, 1: gone}
        write(world)
        pace.tick()
        pace.check()  # for half a minute
        ours.clock.pass_by(MOST_WAIT)
        pace.tick()
        with pytest.raises(LogError) as error:
            pace.check()
        assert error.value.code == "log_behind"
        del ours.befalls[1]
        pace.tick()
        pace.check()
    assert status(place, 1) is Status.CONSISTENT


def test_a_store_brought_back_from_a_backup_does_not_answer(
    place: Settings, ours: Net, tmp_path: Path
) -> None:
    """Database and objects are older together: nothing here can tell, and the witness does."""
    with opened(place, ours.clock, witnesses=ours.client(0)) as world:
        write(world)
        world.store.sequencer.run()
    shutil.copytree(place.home, tmp_path / "backup")
    with opened(place, ours.clock, witnesses=ours.client(0)) as world:
        for _ in range(2):
            write(world)
        world.store.sequencer.run()
    shutil.rmtree(place.home)
    shutil.copytree(tmp_path / "backup", place.home)
    with opened(place, ours.clock, witnesses=ours.client(0)) as world:
        world.store.sequencer.check()
        write(world)
        world.store.pace.tick()
        with pytest.raises(LogError) as error:
            world.store.pace.check()
        assert error.value.code == "log_forked"
        ready = asyncio.run(asked(world, "/readyz"))
        assert (ready.status_code, ready.json()["code"]) == (503, "log_forked")


def test_a_process_that_asks_no_witness_publishes_nothing(
    place: Settings, ours: Net, tmp_path: Path
) -> None:
    """A command beside the service must not put a checkpoint there that nobody cosigned."""
    path = tmp_path / "witnesses.toml"
    path.write_text("")
    with opened(place, ours.clock) as world:
        write(world)
        before = world.store.tree
    note = before.checkpoint()
    named = Settings.from_environment(
        {"METERKEEP_HOME": str(place.home), "METERKEEP_WITNESSES": str(path)}
    )
    with opened(named, ours.clock) as world:
        write(world)
        with pytest.raises(StoreError) as error:
            world.store.sequencer.run()
        assert error.value.code == "log_unwitnessed"
        assert world.store.tree.checkpoint() == note
