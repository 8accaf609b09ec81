"""An inbox into which anybody puts anything: what is whole is kept, once, and not told of."""

from __future__ import annotations

import codecs
import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.columns import Columns
from ingest.inbox import boxes, folder, telling
from ingest.inbox.boxes import Box
from ingest.inbox.folder import Claimed, Letterbox
from ingest.inbox.group import Line, Manner, Tally
from ingest.inbox.names import identified, parted, told
from ingest.inbox.quiet import Quiet
from ingest.inbox.rounds import Rounds
from ingest.profiles import Form, Profile
from ingest.sources import csv
from ingest.sources.layout import Layout
from store.errors import CatalogueError, InputError
from store.reads import Mpxn
from store.writing.writestore import Commit
from tests.ingest import messages
from tests.ingest import test_signed_responses as signatures
from tests.ingest.intake import LCL, START, Memory, at, household, lcl, written

GOOD = f"MAC000002,{at(1, 0)},0.1"


@dataclass
class Ahead:
    """The machine's clock, so much ahead: files of just now are old by it."""

    seconds: float = 0.0

    def now(self) -> float:
        return time.time() + self.seconds

    def monotonic(self) -> float:
        return time.monotonic() + self.seconds


@dataclass
class Watched:
    """An inbox and what watches it."""

    path: Path
    memory: Any = field(default_factory=Memory)
    clock: Ahead = field(default_factory=Ahead)
    lines: list[Line] = field(default_factory=list)
    stopping: Callable[[], bool] = lambda: False
    opened: int = 0

    def rounds(self, quiet: float = 0.0, profile: Profile = LCL, **how: Any) -> Rounds:
        manner = Manner(self.lines.append, self.stopping, self.clock, **how)
        return Rounds([Box("", self.path, profile)], self._store, Quiet(quiet, self.clock), manner)

    def once(self, **how: Any) -> Tally:
        self.lines.clear()
        return self.rounds(**how).once()

    @property
    def fates(self) -> list[str]:
        return [line.fate for line in self.lines]

    def names(self, where: str) -> list[str]:
        return sorted(parted(one.name)[1] for one in (self.path / where).iterdir())

    @contextmanager
    def _store(self) -> Iterator[Any]:
        self.opened += 1
        yield self.memory


@pytest.fixture
def inbox(tmp_path: Path) -> Watched:
    (tmp_path / "inbox").mkdir()
    return Watched(tmp_path / "inbox")


# ---- what is put in ----------------------------------------------------------------------------


def test_a_file_that_is_put_in_is_taken_once_and_put_away(inbox: Watched) -> None:
    lcl(inbox.path, GOOD, name="a.csv")
    assert inbox.once().fates == {"taken": 1}
    assert inbox.names("taken") == ["a.csv"]
    assert list(inbox.memory.reads.values()) == [100]
    assert inbox.once() == Tally()
    assert inbox.opened == 1  # nothing came, so nobody opened the store


def test_the_same_bytes_under_another_name_add_nothing(inbox: Watched) -> None:
    lcl(inbox.path, GOOD, name="a.csv")
    lcl(inbox.path, GOOD, name="b.csv")
    assert inbox.once().fates == {"taken": 1, "seen": 1}
    lcl(inbox.path, GOOD, name="a.csv")
    assert inbox.once().fates == {"seen": 1}
    assert inbox.names("taken") == ["a.csv", "a.csv", "b.csv"]
    assert len(inbox.memory.commits) == 1


def test_the_file_that_came_last_is_believed_whatever_it_is_called(inbox: Watched) -> None:
    lcl(inbox.path, f"MAC000002,{at(1, 0)},0.1", name="b.csv")
    time.sleep(0.02)
    lcl(inbox.path, f"MAC000002,{at(1, 0)},0.2", name="a.csv")
    os.utime(inbox.path / "a.csv", (0, 0))  # as copies do that keep the times of files
    inbox.once()
    assert list(inbox.memory.reads.values()) == [200]


def test_a_file_that_is_not_quiet_waits(inbox: Watched) -> None:
    lcl(inbox.path, GOOD)
    os.utime(inbox.path / "lcl.csv", (0, 0))  # who delivers says when it was written
    assert inbox.once(quiet=30.0).waiting == 1
    inbox.clock.seconds = 31.0
    assert inbox.once(quiet=30.0).fates == {"taken": 1}


def test_where_the_clock_of_the_disk_is_ahead_a_file_is_watched_instead(inbox: Watched) -> None:
    inbox.clock.seconds = -86_400.0
    path = lcl(inbox.path, GOOD)
    rounds = inbox.rounds(quiet=30.0)
    assert rounds.once().waiting == 1
    inbox.clock.seconds += 29.0
    assert rounds.once().waiting == 1
    with path.open("a") as stream:
        stream.write(f"MAC000002,{at(1, 1)},0.2\n")
    inbox.clock.seconds += 29.0
    assert rounds.once().waiting == 1  # it was written to: its time begins anew
    inbox.clock.seconds += 29.0
    assert rounds.once().waiting == 1
    inbox.clock.seconds += 2.0
    assert rounds.once().fates == {"taken": 1}
    assert len(inbox.memory.reads) == 2


@pytest.mark.parametrize("name", [".a.csv", "a.csv.part", "a.csv.FILEPART", "a.tmp"])
def test_a_name_that_says_that_it_is_not_finished_is_left_alone(inbox: Watched, name: str) -> None:
    lcl(inbox.path, GOOD, name=name)
    assert inbox.once() == Tally()
    (inbox.path / name).rename(inbox.path / "a.csv")
    assert inbox.once().fates == {"taken": 1}


def test_folders_in_an_inbox_are_none_of_our_business(inbox: Watched) -> None:
    lcl(_made(inbox.path / "other"), GOOD)
    assert inbox.once() == Tally()
    assert (inbox.path / "other/lcl.csv").exists()


def test_a_file_that_was_taken_is_removed_where_that_was_asked_for(inbox: Watched) -> None:
    lcl(inbox.path, GOOD)
    written(inbox.path / "b.csv", "nonsense\n1\n")
    assert inbox.once(delete=True).fates == {"taken": 1, "refused": 1}
    assert inbox.names("taken") == inbox.names(".working") == []
    assert inbox.names("refused") == ["b.csv", "b.csv.reason"]


def test_only_so_many_files_are_looked_at_in_a_round_and_the_first_come_first(
    inbox: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "MOST", 3)
    for number in range(7):
        lcl(inbox.path, f"MAC000002,{at(1, number)},0.1", name=f"{7 - number}.csv")
        time.sleep(0.01)
    assert inbox.once().fates == {"taken": 3}
    assert inbox.names("taken") == ["5.csv", "6.csv", "7.csv"]
    assert [inbox.once().fates.get("taken") for _ in range(3)] == [3, 1, None]


# ---- bad files ---------------------------------------------------------------------------------


def test_a_bad_file_is_kept_with_its_reason_and_stops_no_other(inbox: Watched) -> None:
    written(inbox.path / "1.csv", "nonsense\n1\n")
    lcl(inbox.path, GOOD, name="2.csv")
    written(inbox.path / "3.csv", b"PAR1..")
    lines = [f"MAC000002,{at(1, 3)},0.1", "x" * 140_000]  # too long, and found when it is read
    lcl(inbox.path, *lines, name="4.csv")
    lcl(inbox.path, f"MAC000002,{at(1, 4)},0.1", name="5.csv")
    written(inbox.path / "6.csv", b"")
    lcl(inbox.path, name="7.csv")
    assert inbox.once().fates == {"taken": 2, "refused": 5}
    assert inbox.names("taken") == ["2.csv", "5.csv"]
    codes = {}
    for one in (inbox.path / "refused").glob("*.reason"):
        said = json.loads(one.read_text())
        assert said.keys() == {"code", "message", "profile", "at"}
        assert said["profile"] == "lcl stamp=start"
        codes[parted(one.name)[1]] = said["code"]
    assert codes == {
        "1.csv.reason": "wrong_profile", "3.csv.reason": "parquet_file",
        "4.csv.reason": "line_too_long", "6.csv.reason": "empty_file", "7.csv.reason": "no_reads",
    }  # fmt: skip


def test_a_file_that_was_refused_is_tried_again_when_it_is_put_in_again(inbox: Watched) -> None:
    written(inbox.path / "a.csv", "nonsense\n1\n")
    inbox.once()
    [bad] = [one for one in (inbox.path / "refused").iterdir() if one.suffix == ".csv"]
    bad.write_text(f"LCLid,tstp,energy(kWh/hh)\n{GOOD}\n")
    bad.rename(inbox.path / "a.csv")
    assert inbox.once().fates == {"taken": 1}


def test_refused_lines_of_a_file_are_counted_and_the_file_is_taken(inbox: Watched) -> None:
    lcl(inbox.path, GOOD, f"MAC000002,{at(1, 1)},-7.654", "MAC000002,never,1")
    tally = inbox.once()
    assert (tally.fates, tally.lines) == ({"taken": 1}, 2)
    [line] = inbox.lines
    assert telling.line(line).endswith(
        "1 reads, commit 1, 1 lines refused: bad_time, 1 lines refused: negative"
    )


# ---- attacks by who may write to the folder ----------------------------------------------------


def test_a_link_out_of_the_folder_is_not_followed(inbox: Watched, tmp_path: Path) -> None:
    outside = lcl(tmp_path, GOOD, name="outside.csv")
    (inbox.path / "link.csv").symlink_to(outside)
    (inbox.path / "dangling.csv").symlink_to(tmp_path / "nowhere")
    os.mkfifo(inbox.path / "pipe.csv")
    assert inbox.once().fates == {"refused": 3}
    assert {line.error.code for line in inbox.lines if line.error} == {"not_a_file"}
    assert inbox.memory.commits == []
    assert outside.exists()
    assert not any(one.is_symlink() for one in inbox.path.iterdir())


@pytest.mark.parametrize("name", [folder.WORKING, folder.TAKEN, folder.REFUSED])
def test_our_own_folders_may_not_lead_elsewhere(inbox: Watched, tmp_path: Path, name: str) -> None:
    elsewhere = _made(tmp_path / "elsewhere")
    (inbox.path / name).symlink_to(elsewhere)
    lcl(inbox.path, GOOD)
    assert inbox.once().failed
    assert [line.error.code for line in inbox.lines if line.error] == ["unsafe_folder"]
    assert list(elsewhere.iterdir()) == []
    assert (inbox.path / "lcl.csv").exists()


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_nobody_else_may_write_to_our_own_folders(inbox: Watched, mode: int) -> None:
    lcl(inbox.path, GOOD)
    inbox.once()
    (inbox.path / folder.WORKING).chmod(mode)
    lcl(inbox.path, f"MAC000002,{at(1, 1)},0.1")
    assert inbox.once().failed
    assert [line.error.code for line in inbox.lines if line.error] == ["unsafe_folder"]


def test_an_inbox_that_is_a_link_or_a_file_or_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(_made(tmp_path / "real"))
    written(tmp_path / "file", "x")
    for name in ("link", "file", "nothing"):
        watched = Watched(tmp_path / name)
        assert watched.once().failed
        assert [line.error.code for line in watched.lines if line.error] == ["no_such_folder"]


NASTY = [
    f"{household(2)}.csv",
    "reads \x1b[2J\x1b]0;owned\x07\r\n1200000000020 taken.csv",
    "".join(chr(0x0660 + int(digit)) for digit in household(2)),  # Arabic digits
    "\udcff\udcfe.csv",  # no UTF-8
    "x" * 255,
]


@pytest.mark.parametrize("name", NASTY, ids=range(len(NASTY)))
def test_a_name_reaches_no_line_with_its_digits_or_its_controls(inbox: Watched, name: str) -> None:
    lcl(inbox.path, GOOD, name=name)
    lcl(inbox.path, "nonsense", name=f"{name[:100]}bad")
    assert inbox.once().fates == {"taken": 2}
    for line in inbox.lines:
        for text in (telling.line(line), json.dumps(telling.said(line))):
            assert text.isascii()
            assert text.isprintable()
            assert household(2) not in text
            assert "MAC000002" not in text


def test_of_a_name_its_letters_and_its_shape_are_told() -> None:
    assert told("Reads-2026_١٢ of 3.csv.gz") == "Reads-####_##?of?#.csv.gz"


@given(st.text(st.characters(codec=None, exclude_characters="\0")))
def test_what_is_told_of_any_name_is_plain_and_without_a_digit(name: str) -> None:
    text = told(name)
    assert len(text) <= 60
    assert text.isascii()
    assert not any(sign.isdigit() or sign.isspace() or sign == "\x1b" for sign in text)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1))
def test_an_identity_stands_before_any_name_and_both_fit_the_disk(name: str) -> None:
    kept = identified(name)
    assert len(os.fsencode(f"{kept}.reason")) <= 255
    identity, rest = parted(kept)
    assert len(identity) == 8
    assert name.endswith(rest) or len(os.fsencode(name)) > 238


def test_what_a_meter_point_file_says_is_in_no_line_and_in_no_reason(inbox: Watched) -> None:
    profile = Profile(Form.OCTOPUS, mpxn=Mpxn.parse(household(2)))
    written(inbox.path / f"{household(2)}.csv", f"nonsense {household(2)}\n{household(2)}\n")
    assert inbox.once(profile=profile).fates == {"refused": 1}
    [reason] = (inbox.path / "refused").glob("*.reason")
    for text in (reason.read_text(), telling.line(inbox.lines[0])):
        assert household(2) not in text


# ---- what goes wrong ---------------------------------------------------------------------------


def test_a_file_that_vanishes_before_it_is_claimed_is_nothing(inbox: Watched) -> None:
    path = lcl(inbox.path, GOOD)
    with folder.opened(inbox.path) as letterbox:
        assert letterbox is not None
        [arrival] = letterbox.arrivals()
        path.unlink()
        assert letterbox.claim(arrival) is None
    assert inbox.once() == Tally()


@dataclass
class Failing(Memory):
    """Fails at the first commit, as a store does whose database is away."""

    def commit(self, *arguments: Any, **named: Any) -> Commit:
        if self.fails_at is None:
            self.fails_at = 0
            raise CatalogueError("the database is locked")
        return super().commit(*arguments, **named)


def test_what_the_store_could_not_take_is_taken_in_the_next_round(inbox: Watched) -> None:
    inbox.memory = Failing()
    lcl(inbox.path, GOOD)
    assert inbox.once().failed
    assert [line.error.code for line in inbox.lines if line.error] == ["catalogue_unavailable"]
    assert inbox.names(".working") == ["lcl.csv"]
    assert inbox.once().fates == {"taken": 1}


@pytest.mark.parametrize("step", ["settle", "refuse"])
def test_a_full_disk_loses_no_file_and_its_words_tell_no_path(
    inbox: Watched, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(self: Letterbox, one: Claimed, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(one.path))

    lcl(inbox.path, GOOD)
    written(inbox.path / "bad.csv", "nonsense\n1\n")
    with monkeypatch.context() as patch:
        patch.setattr(Letterbox, step, full)
        assert inbox.once().failed
    [error] = [line for line in inbox.lines if line.fate == "failed"]
    assert telling.line(error) == (
        "failed  inbox_failed: the inbox, or a disk, refused: No space left on device"
    )
    inbox.once()
    assert inbox.names("taken") == ["lcl.csv"]
    assert inbox.names("refused") == ["bad.csv", "bad.csv.reason"]
    assert len(inbox.memory.commits) == 1


@pytest.mark.parametrize("fault", [RecursionError("deep"), OSError(errno.EIO, "bad sector")])
def test_a_fault_of_ours_at_one_file_refuses_that_file_and_stops_no_other(
    inbox: Watched, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    real = csv.parse

    def faulty(chunk: bytes, layout: Layout) -> Columns:
        if b"MAC000666" in chunk:
            raise fault
        return real(chunk, layout)

    monkeypatch.setattr(csv, "parse", faulty)
    for number, home in enumerate((2, 666, 3)):
        lcl(inbox.path, f"MAC000{home:03d},{at(1, 0)},0.1", name=f"{number}.csv")
    inbox.once()
    assert inbox.names("taken") == ["0.csv", "2.csv"]
    assert inbox.names("refused") == ["1.csv", "1.csv.reason"]
    [refused] = [line for line in inbox.lines if line.fate == "refused"]
    assert refused.error is not None
    assert (refused.error.code, "sector" in str(refused.error)) == ("unexpected", False)


@pytest.mark.parametrize("lacking", [errno.ENOSPC, errno.EMFILE])
def test_what_the_machine_lacks_is_no_fault_of_a_file(
    inbox: Watched, monkeypatch: pytest.MonkeyPatch, lacking: int
) -> None:
    def failing(*_: object) -> Columns:
        raise OSError(lacking, os.strerror(lacking))

    lcl(inbox.path, GOOD)
    with monkeypatch.context() as patch:
        patch.setattr(csv, "parse", failing)
        assert inbox.once().failed
    assert inbox.once().fates == {"taken": 1}


@dataclass
class Appending(Memory):
    """While it commits, whoever put the file writes on."""

    path: Path = Path()

    def commit(self, *arguments: Any, **named: Any) -> Commit:
        done = super().commit(*arguments, **named)
        if len(self.commits) == 1:
            [file] = (self.path / folder.WORKING).iterdir()
            with file.open("a") as stream:
                stream.write(f"MAC000002,{at(1, 1)},0.2\n")
        return done


def test_what_is_written_to_a_file_after_it_was_read_is_taken_too(inbox: Watched) -> None:
    inbox.memory = Appending(path=inbox.path)
    lcl(inbox.path, GOOD)
    assert inbox.once().fates == {"changed": 1}
    assert inbox.names("taken") == []
    assert inbox.once().fates == {"taken": 1}
    assert sorted(inbox.memory.reads.values()) == [100, 200]


@pytest.mark.parametrize("step", ["seen", "commit"])
def test_a_file_that_vanishes_while_it_is_taken_in_is_told_and_stops_nothing(
    inbox: Watched, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    real = getattr(Memory, step)

    def vanishing(*arguments: Any, **named: Any) -> Any:
        for one in (inbox.path / folder.WORKING).iterdir():
            one.unlink()
        return real(*arguments, **named)

    monkeypatch.setattr(Memory, step, vanishing)
    lcl(inbox.path, GOOD, *[f"MAC000002,{at(1, 1)},0.{'0' * 60_000}"] * 150, name="a.csv")
    lcl(inbox.path, f"MAC000002,{at(1, 2)},0.1", name="b.csv")
    tally = inbox.once()
    assert not tally.failed
    assert set(inbox.fates) == {"gone"}
    assert inbox.names(folder.REFUSED) == []


@pytest.fixture
def nobody(tmp_path: Path) -> Iterator[None]:
    """Let this process be one that permissions hold for."""
    codecs.lookup("utf-8-sig")  # read late, and nobody may not read a Python under /root
    ours = (one for one in tmp_path.parents if one.name.startswith(("pytest-", "popen-")))
    for one in (tmp_path, *ours):  # of xdist's processes each has one more
        one.chmod(0o755)
    if os.geteuid() != 0:
        yield
        return
    for one in (tmp_path, tmp_path / "inbox"):
        os.chown(one, 65_534, 65_534)
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_read_is_kept_with_that_reason(inbox: Watched, nobody: None) -> None:
    lcl(inbox.path, GOOD, name="a.csv").chmod(0)
    lcl(inbox.path, f"MAC000002,{at(1, 1)},0.1", name="b.csv")
    assert inbox.once().fates == {"refused": 1, "taken": 1}
    assert [line.error.code for line in inbox.lines if line.error] == ["unreadable"]


def test_an_inbox_that_may_not_be_written_is_told_and_keeps_its_files(
    inbox: Watched, nobody: None
) -> None:
    lcl(inbox.path, GOOD)
    inbox.path.chmod(0o555)
    try:
        assert inbox.once().failed
        assert [line.error.code for line in inbox.lines if line.error] == ["unreadable"]
        inbox.path.chmod(0o755)
        assert inbox.once().fates == {"taken": 1}
    finally:
        inbox.path.chmod(0o755)


def test_who_is_asked_to_end_ends_between_two_ranges_and_nothing_is_half_done(
    inbox: Watched,
) -> None:
    lcl(inbox.path, GOOD)
    asked = iter([False, True])
    inbox.stopping = lambda: next(asked)
    assert inbox.once() == Tally()
    assert inbox.memory.commits == []
    assert inbox.names(".working") == ["lcl.csv"]
    inbox.stopping = lambda: False
    assert inbox.once().fates == {"taken": 1}


class Killed(BaseException):
    """Nothing of ours catches it: as kill -9 does, it ends the round where it is."""


STEPS = [
    (Letterbox, "claim", False), (Letterbox, "claim", True),
    (Memory, "commit", False), (Memory, "commit", True),
    (Letterbox, "settle", False), (Letterbox, "settle", True),
    (Letterbox, "refuse", False), (Letterbox, "refuse", True),
]  # fmt: skip


@pytest.mark.parametrize(("where", "step", "after"), STEPS)
def test_killed_before_or_after_any_step_the_next_round_finishes_and_adds_nothing_twice(
    inbox: Watched, monkeypatch: pytest.MonkeyPatch, where: type, step: str, *, after: bool
) -> None:
    real = getattr(where, step)

    def killed(*arguments: Any, **named: Any) -> Any:
        if after:
            real(*arguments, **named)
        raise Killed

    for number in range(3):
        lcl(inbox.path, f"MAC000002,{at(1, number)},0.1", name=f"{number}.csv")
    written(inbox.path / "bad.csv", "nonsense\n1\n")
    with monkeypatch.context() as patch:
        patch.setattr(where, step, killed)
        with pytest.raises(Killed):
            inbox.once()
    inbox.once()
    assert inbox.names("taken") == ["0.csv", "1.csv", "2.csv"]
    assert inbox.names("refused") == ["bad.csv", "bad.csv.reason"]
    assert inbox.names(".working") == []
    assert len(inbox.memory.reads) == sum(map(len, inbox.memory.commits)) == 3


def test_the_second_watcher_of_a_folder_leaves_it_to_the_first(inbox: Watched) -> None:
    lcl(inbox.path, GOOD)
    with folder.opened(inbox.path) as first:
        assert first is not None
        assert inbox.once().busy == 1
        assert (inbox.path / "lcl.csv").exists()
    assert inbox.once().fates == {"taken": 1}


# ---- inbox.toml --------------------------------------------------------------------------------


def test_each_folder_is_read_as_the_inbox_says(inbox: Watched) -> None:
    written(
        inbox.path / "inbox.toml",
        '[folders.london]\nprofile = "lcl"\n'
        '[folders.mine]\nprofile = "csv"\nunit = "Wh"\nmpxn_file = "mine.txt"\n'
        'columns = "mine.toml"\n',
    )
    written(inbox.path / "mine.txt", household(3))
    written(inbox.path / "mine.toml", '[columns]\nend = "Read time"\nvalue = "Read"\n')
    lcl(_made(inbox.path / "london"), GOOD)
    written(_made(inbox.path / "mine") / "a.csv", "Read time,Read\n2013-01-01 00:30:00,55\n")
    found = boxes.told(inbox.path)
    assert [one.name for one in found] == ["london", "mine"]
    manner = Manner(inbox.lines.append, lambda: False, inbox.clock)
    rounds = Rounds(found, inbox._store, Quiet(0.0, inbox.clock), manner)
    assert rounds.once().fates == {"taken": 2}
    assert inbox.memory.reads == {
        (household(2), "active_import", START): 100,
        (household(3), "active_import", START): 55,
    }


def test_responses_of_the_dcc_are_taken_by_the_keys_that_the_inbox_names(inbox: Watched) -> None:
    written(
        inbox.path / "inbox.toml",
        '[folders.meter]\nprofile = "duis"\nmpxn_file = "mine.txt"\nkey_file = "reader.pem"\n'
        'certificate_file = "meter.pem"\nsigner_file = "dcc.pem"\n',
    )
    written(inbox.path / "mine.txt", messages.MPAN)
    messages.key_file(inbox.path / "reader.pem")
    with pytest.raises(InputError) as refused:
        boxes.told(inbox.path)
    assert refused.value.code == "no_such_file"
    written(inbox.path / "meter.pem", messages.certificate())
    written(inbox.path / "dcc.pem", signatures.certificate())
    sent = messages.message(messages.ELECTRICITY, [[messages.since(messages.NOON), 5]])
    forged = sent.data[:-1] + bytes([sent.data[-1] ^ 1])
    true, false = (messages.response(each, srv="4.8.1") for each in (sent.data, forged))
    written(_made(inbox.path / "meter") / "a.xml", signatures.signed(true))
    written(inbox.path / "meter/b.xml", signatures.signed(false))
    written(inbox.path / "meter/c.xml", true)
    manner = Manner(inbox.lines.append, lambda: False, inbox.clock)
    rounds = Rounds(boxes.told(inbox.path), inbox._store, Quiet(0.0, inbox.clock), manner)
    assert rounds.once().fates == {"taken": 1, "refused": 2}
    codes = {line.error.code for line in inbox.lines if line.error}
    assert codes == {"mac_invalid", "signature_invalid"}
    assert list(inbox.memory.reads.values()) == [5]


def test_a_folder_that_is_gone_stops_no_other(inbox: Watched) -> None:
    written(
        inbox.path / "inbox.toml",
        '[folders.gone]\nprofile = "lcl"\n[folders.here]\nprofile = "lcl"\n',
    )
    lcl(_made(inbox.path / "here"), GOOD)
    manner = Manner(inbox.lines.append, lambda: False, inbox.clock)
    tally = Rounds(boxes.told(inbox.path), inbox._store, Quiet(0.0, inbox.clock), manner).once()
    assert (tally.failed, tally.fates) == (True, {"taken": 1})
    assert telling.line(inbox.lines[0]).startswith("gone  failed  no_such_folder")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[folders]",
        "[folders.a]",
        '[folders.a]\nprofile = "lcl"\nprofil = "lcl"',
        "[folders.a]\nprofile = 7",
        '[folders.".."]\nprofile = "lcl"',
        '[folders."a/../../b"]\nprofile = "lcl"',
        '[folders.".working"]\nprofile = "lcl"',
        'profile = "lcl"\n[folders.a]\nprofile = "lcl"',
        "folders = 7",
    ],
)
def test_an_inbox_that_says_what_is_not_understood_is_not_watched(
    tmp_path: Path, text: str
) -> None:
    written(tmp_path / "inbox.toml", text)
    with pytest.raises(InputError) as refused:
        boxes.told(tmp_path)
    assert refused.value.code == "bad_inbox"


def test_an_inbox_without_a_word_of_how_it_is_read_is_not_watched(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        boxes.told(tmp_path)
    assert refused.value.code == "bad_inbox"
    written(tmp_path / "inbox.toml", '[folders.a]\nprofile = "octopus"')
    with pytest.raises(InputError) as refused:
        boxes.told(tmp_path)
    assert refused.value.code == "meter_point_needed"


def _made(path: Path) -> Path:
    path.mkdir()
    return path
