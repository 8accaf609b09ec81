"""A witness: it cosigns a log's checkpoints as long as each goes on from the one before.

For each log it keeps the newest checkpoint that it cosigned, in a file of its own, replaced and
synced before the cosignature leaves. So a log that shrinks or forks gets none: whoever wants a
witness's signature on what he is shown sees what everybody else sees. What was refused although the
log had signed it is kept too: it proves that the log lied. See C2SP tlog-witness.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from store.errors import InputError, ObjectError, ProofError, TamperedError
from store.proofs.merkle import EMPTY_ROOT, verify_consistency
from store.proofs.notes import Checkpoint, Signer, Verifier, open_note, split_note
from store.proofs.submissions import SIZE_TYPE, Submission
from store.proofs.verdicts import Trust

if TYPE_CHECKING:
    from store.ports import Clock

MOST_KEPT = 100  # refused checkpoints that are kept as proof
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a witness answers.

    Attributes:
        status: As HTTP has it.
        body: Cosignature lines, a size, or one line that says why not.
        media: Its media type.
        alarm: Whether the log was caught.
    """

    status: int
    body: bytes
    media: str = TEXT
    alarm: bool = False


class _NoError(Exception):
    """A request that gets no cosignature, and what is answered."""

    def __init__(self, status: int, said: str, media: str = TEXT, *, alarm: bool = False) -> None:
        super().__init__(said)
        self.reply = Reply(status, said.encode(), media, alarm)


class Witness:
    """Cosigns for logs that it knows.

    Args:
        signer: Its key, of the algorithm COSIGNATURE.
        logs: The keys of the logs that it cosigns for.
        folder: Where it keeps what it knows; made where it is missing.
        clock: Tells the time of a cosignature.
    """

    def __init__(self, signer: Signer, logs: Trust, folder: Path, clock: Clock) -> None:
        self._signer, self._logs = signer, logs
        self._folder, self._clock = folder, clock
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the witness's folder cannot be made: {error.strerror}") from None

    def add_checkpoint(self, body: bytes) -> Reply:
        """Return the answer to one request.

        Raises:
            ObjectError: What is known cannot be read or kept: nothing is cosigned.
            TamperedError: What is known is no checkpoint of that log any more.
        """
        try:
            return self._cosigned(body)
        except _NoError as no:
            return no.reply

    @property
    def verifier(self) -> Verifier:
        """The public half of its key."""
        return self._signer.verifier

    def known(self, origin: str) -> Checkpoint:
        """Return the newest checkpoint that was cosigned for a log; an empty one where none was."""
        with self._alone():
            return self._known(origin)

    def _cosigned(self, body: bytes) -> Reply:
        asked, keys = self._read(body)
        try:
            text, signers = open_note(asked.note, keys)
        except ProofError as error:
            raise _NoError(403, f"{error}\n") from None
        new = Checkpoint.parse(text)
        if asked.old > new.size:
            raise _NoError(400, "the older size is greater than the new one\n")
        with self._alone():
            known = self._known(new.origin)
            if known.size != asked.old:
                raise _NoError(409, f"{known.size}\n", SIZE_TYPE)
            try:
                _goes_on(known, new, asked)
            except ProofError as error:
                self._accuse(body)
                if known.size == new.size:
                    raise _NoError(409, f"{known.size}\n", SIZE_TYPE, alarm=True) from None
                raise _NoError(422, f"{error}\n", alarm=True) from None
            line = self._signer.line(text, int(self._clock.now()))
            signed = next(each for each in split_note(asked.note)[1] if signers[0].made(each))
            self._keep(new.origin, f"{text}\n{line}{signed.line}".encode())
        return Reply(200, line.encode())

    def _read(self, body: bytes) -> tuple[Submission, list[Verifier]]:
        try:
            asked = Submission.decode(body)
            claimed = Checkpoint.claimed(asked.note)
        except ProofError as error:
            raise _NoError(400, f"{error}\n") from None
        keys = self._logs.of(claimed.origin)
        if not keys:
            raise _NoError(404, "this log is not known here\n")
        return asked, keys

    # ---- what is kept ------------------------------------------------------------------------

    def _known(self, origin: str) -> Checkpoint:
        try:
            note = self._path(origin).read_bytes()
        except FileNotFoundError:
            return Checkpoint(origin, 0, EMPTY_ROOT)
        except OSError as error:
            raise ObjectError(f"the witness cannot read: {error.strerror}") from None
        try:
            found = Checkpoint.parse(open_note(note, [self._signer.verifier]).text)
        except ProofError:
            found = None
        if found is None or found.origin != origin:
            raise TamperedError("checkpoint", "what the witness knew of a log was changed")
        return found

    def _keep(self, origin: str, note: bytes) -> None:
        path = self._path(origin)
        draft = path.with_suffix(".draft")
        try:
            with draft.open("wb") as file:
                file.write(note)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            self._sync()
        except OSError as error:
            raise ObjectError(f"the witness cannot write: {error.strerror}") from None

    def _accuse(self, body: bytes) -> None:
        """Keep what the log signed and cannot have meant."""
        path = self._folder / f"refused-{sha256(body).hexdigest()[:32]}"
        try:
            if len(list(self._folder.glob("refused-*"))) < MOST_KEPT:
                path.write_bytes(body)
        except OSError as error:
            raise ObjectError(f"the witness cannot write: {error.strerror}") from None

    def _path(self, origin: str) -> Path:
        return self._folder / f"{sha256(origin.encode()).hexdigest()[:32]}.checkpoint"

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one request at a time compare and replace, of this process or another."""
        try:
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise ObjectError(f"the witness cannot read: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _goes_on(known: Checkpoint, new: Checkpoint, asked: Submission) -> None:
    """See that ``new`` begins with ``known``. Raises ProofError."""
    if known.size:
        verify_consistency(known.size, known.root, new.size, new.root, asked.proof)
    elif asked.proof:
        raise ProofError("from no leaves nothing can be proved")
    elif not new.size and new.root != EMPTY_ROOT:
        raise ProofError("an empty log has another root")
