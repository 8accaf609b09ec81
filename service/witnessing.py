"""Our side of witnesses: each checkpoint is sent to others, who sign that it goes on from the last.

    quorum = 1                                     how many must sign before a checkpoint counts

    [[witness]]
    key = "witness.example/w1+1a2b3c4d+BAAB.."     its verifier key
    url = "https://witness.example/"               where `add-checkpoint` is

All are asked at once, each for PATIENCE seconds. One that does not answer is left alone for a
while, longer each time, unless the quorum needs it. One that says that this log forked or shrank
stops all answers (``log_forked``): somebody rewrote it here, or brought it back from a backup.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import structlog

from store.errors import InputError, LogError, ProofError, StoreError
from store.keepers.local import SystemClock
from store.proofs.notes import Algorithm, Checkpoint, Verifier, split_note
from store.proofs.submissions import SIZE_TYPE, Submission, size_of

if TYPE_CHECKING:
    from store.ports import Clock
    from store.settings import Settings

PATIENCE = 3.0  # seconds without a byte
LONGEST = 6.0  # seconds of one answer: a witness must not hold the log up byte by byte
REST = 5.0  # seconds that a witness is left alone after it failed; twice as long each time
LONGEST_REST = 300.0  # seconds
MOST_BYTES = 65_536  # of an answer
MOST_WITNESSES = 16
_CONFLICT, _UNPROVEN = 409, 422
_FORKED = (
    "a witness has seen another history of this log than the one kept here: somebody rewrote it, "
    "or the store was brought back from a backup. Nothing is answered; find out which, by the "
    "checkpoint that the witness keeps"
)


@dataclass(frozen=True, slots=True)
class Named:
    """One witness as the policy names it."""

    key: Verifier
    url: str


@dataclass(frozen=True, slots=True)
class Policy:
    """Who is asked, and how many must sign."""

    witnesses: Sequence[Named]
    quorum: int


class AwayError(Exception):
    """A witness did not answer, or with nothing that can be used."""


@dataclass(slots=True)
class _Remote:
    """One witness, and what is known of how it does."""

    named: Named
    http: httpx.Client
    clock: Clock
    sizes: dict[str, int] = field(default_factory=dict)  # what it cosigned last of each year's log
    failures: int = 0
    rests: float = field(default=float("-inf"))  # until then, monotonic

    def cosign(self, note: bytes, text: str, prove: Callable[[int], Sequence[bytes]]) -> str:
        """Return its cosignature line. Raises AwayError, and LogError where it tells of a fork."""
        new = Checkpoint.parse(text)
        size, old = new.size, min(self.sizes.get(new.origin, 0), new.size)
        status, media, body = self._send(old, note, prove)
        if status == _CONFLICT and media == SIZE_TYPE:
            known = _told(body)
            if known > size or known == old:  # it knows more than there is, or another root
                raise LogError(_FORKED, code="log_forked")
            old = known
            status, media, body = self._send(old, note, prove)
            if status == _CONFLICT and media == SIZE_TYPE and _told(body) in {old, size}:
                raise LogError(_FORKED, code="log_forked")
        if status == _UNPROVEN:
            raise LogError(_FORKED, code="log_forked")
        if status != httpx.codes.OK:
            raise AwayError(f"status {status}")
        line = _line(self.named.key, text, body)
        self.sizes[new.origin] = size
        return line

    def _send(
        self, old: int, note: bytes, prove: Callable[[int], Sequence[bytes]]
    ) -> tuple[int, str, bytes]:
        body = Submission(old, prove(old) if old else [], note).encode()
        ends = self.clock.monotonic() + LONGEST
        try:
            with self.http.stream("POST", self.named.url, content=body) as answer:
                told = b""
                for part in answer.iter_bytes():
                    told += part
                    if len(told) > MOST_BYTES or self.clock.monotonic() > ends:
                        raise AwayError("an answer without end")
                media = answer.headers.get("content-type", "").partition(";")[0].strip()
                return answer.status_code, media, told
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AwayError(type(error).__name__) from None


class HttpWitnesses:
    """Asks the witnesses of a policy; one of the `ports.Witnesses`.

    Args:
        policy: Who is asked.
        clock: Tells how long one is left alone.
        transport: Another way to reach them; for tests.
    """

    def __init__(
        self, policy: Policy, clock: Clock, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._quorum, self._clock = policy.quorum, clock
        self._log = structlog.get_logger("witness")
        self._http = httpx.Client(timeout=PATIENCE, transport=transport)
        self._remotes = [_Remote(named, self._http, clock) for named in policy.witnesses]
        self._pool = ThreadPoolExecutor(MOST_WITNESSES, "witness")

    def cosign(self, note: bytes, prove: Callable[[int], Sequence[bytes]]) -> list[str]:
        """Return the cosignature lines under a checkpoint; see `ports.Witnesses`."""
        text, now = split_note(note)[0], self._clock.monotonic()
        awake = [remote for remote in self._remotes if remote.rests <= now]
        asked = awake if len(awake) >= self._quorum else self._remotes
        tried = [self._pool.submit(self._one, remote, note, text, prove) for remote in asked]
        lines = [line for each in tried if (line := each.result()) is not None]
        if len(lines) < self._quorum:
            raise StoreError(
                f"{len(lines)} of {self._quorum} witnesses cosigned the log's checkpoint: it is "
                "not published; see that they run, or change METERKEEP_WITNESSES",
                code="log_unwitnessed",
            )
        return lines

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown()
        self._http.close()

    def _one(
        self, remote: _Remote, note: bytes, text: str, prove: Callable[[int], Sequence[bytes]]
    ) -> str | None:
        """Return one cosignature line; None where that witness is away, which is noted."""
        name = remote.named.key.name
        try:
            line = remote.cosign(note, text, prove)
        except AwayError as away:
            rest = min(REST * 2**remote.failures, LONGEST_REST)
            remote.failures = min(remote.failures + 1, MOST_WITNESSES)
            remote.rests = self._clock.monotonic() + rest
            self._log.warning("witness away", witness=name, why=str(away), rest=rest)
            return None
        except LogError as error:
            self._log.error("alarm", code=error.code, witness=name)
            raise
        if remote.failures:
            self._log.info("witness back", witness=name)
        remote.failures, remote.rests = 0, float("-inf")
        return line


@contextmanager
def asking(settings: Settings, clock: Clock | None = None) -> Iterator[HttpWitnesses | None]:
    """Yield the witnesses that ``settings`` name; None where there are none.

    Raises:
        InputError: See `load`.
    """
    if settings.witnesses is None:
        yield None
        return
    witnesses = HttpWitnesses(load(settings.witnesses), clock or SystemClock())
    try:
        yield witnesses
    finally:
        witnesses.close()


def load(path: Path) -> Policy:
    """Return the policy in a file; see above.

    Raises:
        InputError: It cannot be read, or says what is not understood (``bad_witnesses``).
    """
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
        policy = Policy([_named(one) for one in said.pop("witness", [])], said.pop("quorum", 0))
    except OSError:
        raise InputError("METERKEEP_WITNESSES cannot be read", code="bad_witnesses") from None
    except (ValueError, KeyError, TypeError, ProofError) as error:
        raise _bad(str(error)) from None
    names = {one.key.name for one in policy.witnesses}
    if said or len(names) != len(policy.witnesses) or len(names) > MOST_WITNESSES:
        raise _bad("unknown words, a name twice, or more than 16 witnesses")
    if type(policy.quorum) is not int or not 0 <= policy.quorum <= len(names):
        raise _bad("the quorum is a number of these witnesses")
    return policy


def _named(said: Mapping[str, Any]) -> Named:
    key, url = Verifier.parse(said["key"]), str(said["url"])
    parts = urlsplit(url)
    if set(said) != {"key", "url"} or key.algorithm is not Algorithm.COSIGNATURE:
        raise ValueError("a witness has a key that cosigns, and a url")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("a witness is reached by http or https")
    return Named(key, url.rstrip("/") + "/add-checkpoint")


def _bad(why: str) -> InputError:
    return InputError(f"METERKEEP_WITNESSES is not understood: {why}", code="bad_witnesses")


def _told(body: bytes) -> int:
    try:
        return size_of(body)
    except ProofError as error:
        raise AwayError(str(error)) from None


def _line(key: Verifier, text: str, body: bytes) -> str:
    """Return the line by ``key`` in an answer, once it is seen to hold."""
    try:
        signatures = split_note(text.encode() + b"\n" + body)[1]
        for signature in signatures:
            if key.made(signature):
                key.check(text, signature.body)
                return signature.line
    except ProofError as error:
        raise AwayError(str(error)) from None
    raise AwayError("no cosignature by its key")
