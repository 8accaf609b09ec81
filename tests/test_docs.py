"""The documents: what they show is what the program says, and what they name is there.

A block of commands in README.md is tried where a comment says so:

    <!-- tried: demo -->          which session it belongs to; sessions run in the order of the text
    ```console
    $ a command
    what it says, on stdout and then on stderr
    ```

Identifiers that are drawn anew each time, and the port, are compared as such. The session ``demo``
depends on the day it is run on, so its figures and bars are compared by shape; ``london`` is exact.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from calendar import month_name
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import typer
from typer.main import get_command

import meterkeep
from tests.served import port_of_ours

ROOT = Path(__file__).parent.parent
ARCHIVE = ROOT.parent / "shared/data/lcl_2013_100_households_raw_csv.tar.xz"
PATIENCE = 180  # seconds
ROOMS = ("store", "ingest", "service", "policies", "infra", "tests", "bench")


def text_of(name: str | Path) -> str:
    """Return a file of ours; they are UTF-8 whatever the machine's locale is."""
    return (ROOT / name).read_text(encoding="utf-8")


README = text_of("README.md")

# ---- a session of commands ---------------------------------------------------------------------

_BLOCK = re.compile(r"<!-- tried: (\w+) -->\n```console\n(.*?)```", re.DOTALL)
_DRAWN = (  # what is drawn anew each time
    (re.compile(r"\b[0-9a-f]{64}\b"), "(digest)"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "(entry)"),
    (re.compile(r"\broot [0-9a-f]{16}\b"), "root (root)"),
    (re.compile(r"\b(p|c)_[0-9a-f]{16}\b"), r"\1_(id)"),
    (re.compile(r"\bmp_[A-Za-z0-9_-]{39}"), "mp_(name)"),
    (re.compile(r"127\.0\.0\.1:[0-9]+"), "127.0.0.1:(port)"),
    (re.compile(r"\s+"), " "),
)
_SHAPED = (  # what another day changes
    (re.compile(r"[▁▂▃▄▅▆▇█·]+"), "▄"),
    (re.compile(r"─+"), "─"),
    (re.compile("|".join(month_name[1:])), "(month)"),
    (re.compile(r"[0-9][0-9,.:TZ-]*"), "#"),
)


@dataclass(frozen=True)
class Step:
    """One command of README.md and what README.md says of it."""

    command: str
    told: str


def steps(session: str) -> list[Step]:
    found = []
    for name, block in _BLOCK.findall(README):
        for part in block.split("\n$ ") if name == session else ():
            command, _, told = part.removeprefix("$ ").partition("\n")
            found.append(Step(command, told))
    return found


def as_read(text: str, *, by_shape: bool) -> list[str]:
    """Return the lines of ``text`` as far as they can be the same twice."""
    lines: list[str] = []
    for given in text.strip().splitlines():
        line = given
        for pattern, word in (*_DRAWN, *(_SHAPED if by_shape else ())):
            line = pattern.sub(word, line)
        if not by_shape or lines[-1:] != [line.strip()]:  # a month more or less
            lines.append(line.strip())
    return lines


@dataclass
class Terminal:
    """A shell in a folder of its own, with a service that it may start."""

    folder: Path
    port: int
    said: list[str] = field(default_factory=list)  # `export ..` lines
    status: int = 0
    service: subprocess.Popen[str] | None = None

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("METERKEEP_")}
        return inherited | {
            "METERKEEP_PUBLIC_URL": f"http://127.0.0.1:{self.port}",
            "COLUMNS": "200",
            "LC_ALL": "C.UTF-8",
            "PYTHONUTF8": "1",
        }

    def run(self, command: str) -> str:
        """Return what ``command`` says."""
        if command == "make run":  # see test_make_run_is_what_the_session_does
            return self.run(".venv/bin/meterkeep demo") + self.run(".venv/bin/meterkeep serve &")
        if command.endswith(" serve &"):
            return self.serve(command.removesuffix(" &"))
        if command.startswith("export "):
            self.said.append(command)
            return ""
        script = "\n".join([*self.said, f"(exit {self.status})", command])
        done = subprocess.run(
            ["sh", "-c", script], cwd=self.folder, env=self.environment, capture_output=True,
            text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        self.status = done.returncode
        return done.stdout + done.stderr

    def serve(self, command: str) -> str:
        script = "\n".join([*self.said, f"exec {command} --port {self.port}"])
        self.service = subprocess.Popen(
            ["sh", "-c", script], cwd=self.folder, env=self.environment, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self.service.stderr is not None
        return self.service.stderr.readline()


@contextmanager
def terminal(folder: Path) -> Iterator[Terminal]:
    programs = Path(sys.executable).parent
    if not (programs / "meterkeep").exists():
        pytest.skip("meterkeep is not installed beside this Python: `make test` installs it")
    (folder / ".venv").mkdir()
    (folder / ".venv/bin").symlink_to(programs)
    with port_of_ours() as port:
        one = Terminal(folder, port)
        try:
            yield one
        finally:
            if one.service is not None:
                one.service.terminate()
                one.service.communicate(timeout=30)


def differences(one: Terminal, session: Sequence[Step], *, by_shape: bool) -> list[str]:
    """Return where README.md and the program disagree, and what the program says."""
    days: dict[str, str] = {}
    found = []
    for step in session:
        command = step.command
        for told, real in days.items():
            command = command.replace(told, real)
        said = one.run(command)
        if command == "make run":  # the demo ends on the day it is planted
            dates = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
            days = dict(zip(dates.findall(step.told)[:2], dates.findall(said)[:2], strict=True))
        told, real = (as_read(text, by_shape=by_shape) for text in (step.told, said))
        if told != real:
            found.append(f"$ {command}\n" + said)
    return found


def test_what_the_readme_shows_of_the_demo_is_what_is_said(tmp_path: Path) -> None:
    session = steps("demo")
    assert len(session) >= 4
    with terminal(tmp_path) as one:
        assert "\n".join(differences(one, session, by_shape=True)) == ""


def test_what_the_readme_shows_of_london_is_what_is_said(tmp_path: Path) -> None:
    if not ARCHIVE.exists():
        pytest.skip("the London reads are not here: ../shared/data")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    session = steps("london")
    assert len(session) >= 10
    with terminal(tmp_path) as one:
        assert "\n".join(differences(one, session, by_shape=False)) == ""


def test_a_changed_figure_in_the_readme_is_found(tmp_path: Path) -> None:
    with terminal(tmp_path) as one:
        told = Step("echo 17520 4214648; (exit 3)", "17520 4214649\n")
        assert differences(one, [told], by_shape=False)
        assert not differences(one, [Step("echo $?", "3\n")], by_shape=False)
        assert differences(one, [Step("echo a line too many", "")], by_shape=True)


def test_make_run_is_what_the_session_does() -> None:
    target = text_of("Makefile").partition("\nrun:")[2].split("\n\n")[0]
    assert re.findall(r"\$\(BIN\)/meterkeep (.*)", target) == ["demo", "serve"]


# ---- what is named is there --------------------------------------------------------------------


def inner_rooms() -> list[Path]:
    """Return the rooms of the store; the schema and its history say by themselves what they are."""
    inside = (p.parent for p in (ROOT / "store").glob("*/__init__.py"))
    return sorted(p for p in inside if p.name not in {"tables", "migrations"})


def documents() -> list[Path]:
    folders = [*(ROOT / room for room in ROOMS), *inner_rooms()]
    return [*ROOT.glob("*.md"), *(p for folder in folders for p in folder.glob("*.md"))]


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings of ``text``, as they are made on GitHub."""
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    headings = re.findall(r"^#+ +(.*)$", outside, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_its_door_plate(room: str) -> None:
    assert text_of(f"{room}/README.md").startswith("# ")


@pytest.mark.parametrize("document", documents(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = text_of(document)
    for link in re.findall(r"\]\(([^)]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(text_of(target)), link


@pytest.mark.parametrize("document", documents(), ids=lambda p: str(p.relative_to(ROOT)))
def test_files_that_are_named_exist(document: Path) -> None:
    for name in re.findall(r"`([\w./]+\.(?:py|toml|md)|\w+/)`", text_of(document)):
        if not name.startswith(("var/", "lcl/")):
            assert (document.parent / name).exists() or (ROOT / name).exists(), name


def commands(group: object, before: str = "meterkeep") -> set[str]:
    found = set()
    for name, one in getattr(group, "commands", {}).items():
        inside = commands(one, f"{before} {name}")
        found |= inside or {f"{before} {name}"}
    return found


def test_the_readme_names_the_commands_that_exist() -> None:
    app: typer.Typer = meterkeep.build()
    there = {name.removesuffix(" take") for name in commands(get_command(app))}
    table = README.partition("\n## Commands\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(meterkeep [a-z -]+)`", table))
    assert named == there
    every = {name.split()[1] for name in there}
    for document in documents():
        assert set(re.findall(r"`meterkeep ([a-z]+)(?![a-z]* v1`)", text_of(document))) <= every, (
            document
        )


def test_the_readme_names_the_settings_that_are_read() -> None:
    settings = text_of("store/settings.py")
    table = README.partition("\n## Environment\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"METERKEEP_[A-Z0-9_]+", table)) == set(
        re.findall(r'env\.get\("(METERKEEP_[A-Z0-9_]+)"', settings)
    )


def test_the_readme_names_the_addresses_that_are_served() -> None:
    served = text_of("service/app.py")
    for path in re.findall(r"(?:GET|POST) (/[\w/{}.-]+)", README):
        assert f'"{path}"' in served, path


def test_the_store_names_each_of_its_modules() -> None:
    plate = text_of("store/README.md")
    for module in (ROOT / "store").glob("*.py"):
        assert module.name == "__init__.py" or f"`{module.name}`" in plate, module.name


@pytest.mark.parametrize("room", inner_rooms(), ids=lambda p: p.name)
def test_a_room_of_the_store_names_its_modules_and_no_others(room: Path) -> None:
    assert f"[{room.name}/]({room.name}/README.md)" in text_of("store/README.md")
    plate = text_of(room / "README.md")
    assert plate.startswith(f"# {room.name}: ")
    named = re.findall(r"^\| `(\w+)\.py` \| .+ \|$", plate, re.MULTILINE)
    assert sorted(named) == sorted(p.stem for p in room.glob("*.py") if p.stem != "__init__")


def test_the_store_names_each_of_its_tables() -> None:
    plate = text_of("store/README.md").partition("\n## The catalogue\n")[2]
    told = "".join(path.read_text() for path in sorted((ROOT / "store/tables").glob("*.py")))
    tables = re.findall(r"^    \"(\w+)\",\n    metadata", told, re.MULTILINE)
    named = re.findall(r"^\| `(\w+)` \|", plate.partition("\n## ")[0], re.MULTILINE)
    assert sorted(named) == sorted([*tables, "alembic_version"])


# ---- what must not be there --------------------------------------------------------------------


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("this is no clone: git does not list its files")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def test_no_file_names_a_machine_s_path_or_a_registry() -> None:
    paths = r"(?<![\w.~:-])/(?:work|root|tmp|home)/"
    hosts = r"p[y]pi\.org|python[h]osted|npm[j]s\.|crates[.]io"
    forbidden = re.compile(f"{paths}|{hosts}")
    for file in tracked():
        found = forbidden.search(file.read_text(encoding="utf-8", errors="replace"))
        assert found is None, f"{file.relative_to(ROOT)}: {found}"
