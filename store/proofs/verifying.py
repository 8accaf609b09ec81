"""What an outsider can say of a log with its public key and a copy of its files, and nothing else.

    consistent        the files are what the log signed, and go on from what was kept of it before
    tampered          they are not: which file, which entry
    could not tell    a file is missing, or no key is known for this log

No key that is given here is secret, and nothing that the service says is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from store.errors import ObjectError, ProofError
from store.proofs.copies import CHECKPOINT, Copy, needed
from store.proofs.merkle import EMPTY_ROOT, consistency_proof, verify_consistency
from store.proofs.notes import Checkpoint, Verifier
from store.proofs.promises import LATE, Promise
from store.proofs.tiles import Hashes
from store.proofs.verdicts import NO_KEY, Status, Trust, Verdict, follows, log_of, named_key, opened
from store.proofs.walked import Finding
from store.proofs.walking import Walk


def verify(
    copy: Copy,
    trust: Trust,
    *,
    entries: bool = True,
    kept: Iterable[Checkpoint] = (),
    wanted: Collection[bytes] = (),
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Verdict:
    """Return what can be said of one year's log.

    Args:
        copy: Its files.
        trust: Whose signatures count.
        entries: False where the copy has no bundles of entries.
        kept: Checkpoints that were kept earlier; those of other years are passed over.
        wanted: Leaf hashes to look for; see `verify_all`.
        progress: Is told of entries that are done, and of how many there are.

    Raises:
        ObjectError: The copy cannot be read.
    """
    verdict = Verdict()
    note = copy.find(CHECKPOINT)
    if note is None:
        verdict.unknown.append("there is no checkpoint")
        return verdict
    checkpoint = _checkpoint(note, trust, verdict)
    if checkpoint is None:
        return verdict
    size = checkpoint.size
    done = [0]

    def tell(more: int) -> None:
        done[0] += more
        progress(done[0], size)

    walk = Walk(copy, size, root=checkpoint.root, entries=entries, wanted=wanted, progress=tell)
    verdict.walked = walk.run()
    walked = verdict.walked
    if walked.root is not None and walked.root != checkpoint.root:
        verdict.findings.append(
            Finding(CHECKPOINT, "its root is not that of the entries and tiles")
        )
    if walked.early:
        # An entry cannot be put in between. One that was written late, or by a clock that was set
        # back, says so itself: it is no proof of anything, and worth a question.
        several = f"{len(walked.early)} entries, the first {walked.early[0]}"
        verdict.remarks.append(f"{several}, state a time long before one that stands before them")
    if not entries:
        verdict.remarks.append("tiles of hashes alone: entries were not seen")
    for older in kept:
        if older.origin == checkpoint.origin:
            _goes_on(older, checkpoint, copy, verdict)
    return verdict


def verify_all(
    copies: Mapping[int, Copy],
    trust: Trust,
    *,
    entries: bool = True,
    kept: Sequence[bytes] = (),
    promises: Sequence[Promise] = (),
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Verdict]:
    """Return what can be said of every year's log, and last of what was kept and promised.

    Args:
        copies: By year.
        trust: Whose signatures count.
        entries: False where the copies have no bundles of entries.
        kept: Checkpoints that were kept earlier, as notes.
        promises: Promises that answers carried.
        progress: See `verify`.

    Raises:
        ObjectError: A copy cannot be read.
    """
    last = Verdict()
    older = list(_opened(kept, trust, last))
    wanted = {promise.leaf for promise in promises}
    found = []
    for copy in copies.values():
        one = verify(copy, trust, entries=entries, kept=older, wanted=wanted, progress=progress)
        trust = _renewed(one, trust)
        found.append(one)
    for before, one in pairwise(found):
        _follows(before, one)
    origins = {one.origin for one in found}
    last.unknown += [
        f"{one.origin}, of which a checkpoint was kept, is not in this copy"
        for one in older
        if one.origin not in origins
    ]
    _held(promises, trust, found, last)
    return [*found, last]


def _renewed(verdict: Verdict, trust: Trust) -> Trust:
    """Return ``trust``, and in the keys that a log which is what it signed names as its next.

    So who has the first key alone verifies the years after a rotation too.
    """
    if verdict.status is not Status.CONSISTENT:
        return trust
    for at, action in verdict.walked.keys:
        public = named_key(action)
        if public is None:
            continue
        key = Verifier(verdict.origin, public)
        if all(key.public != one.public for one in trust.keys):
            trust = trust.also(key)
            verdict.remarks.append(f"entry {at} names its new key: {key.vkey}")
    return trust


def _follows(before: Verdict, verdict: Verdict) -> None:
    """See that a year's log begins with the last checkpoint of the year before."""
    if not before.root or not verdict.root or verdict.walked.begins is None:
        return  # what is missing is told already
    year, begins = int(before.origin.rpartition("/")[2]), verdict.walked.begins
    if begins == follows(year, before.size, bytes.fromhex(before.root)):
        verdict.remarks.append(f"goes on from {before.origin}")
    elif begins.startswith("log shard ") and not begins.startswith(f"log shard {year} "):
        verdict.unknown.append("goes on from a year that is not in this copy")
    else:
        where = f"entry 0 of {verdict.origin}"
        verdict.findings.append(Finding(where, f"does not go on from {before.origin}"))


def _opened(notes: Iterable[bytes], trust: Trust, verdict: Verdict) -> Iterator[Checkpoint]:
    for note in notes:
        try:
            yield opened(note, trust)[0]
        except ProofError as error:
            verdict.unknown.append(f"a checkpoint that was kept is no good: {error}")


def _held(
    promises: Sequence[Promise], trust: Trust, verdicts: Sequence[Verdict], verdict: Verdict
) -> None:
    """Say of each promise whether it was kept, by what was found in every year's log.

    An entry that was promised in the last seconds of a year may stand in the next one's tree.
    """
    found = {
        leaf: f"{one.origin} {at}" for one in verdicts for leaf, at in one.walked.found.items()
    }
    seen = all(one.origin and one.walked.entries == one.size for one in verdicts)
    last = max((one.walked.last or 0 for one in verdicts), default=0)
    for promise in promises:
        where = f"promise of entry {promise.entry.hex()}"
        if not _is_signed(promise, trust):
            verdict.unknown.append(f"{where}: is not signed by this log")
        elif promise.leaf in found:
            verdict.remarks.append(f"{where}: kept, entry {found[promise.leaf]}")
        elif not seen:
            verdict.unknown.append(f"{where}: entries are missing from this copy")
        elif last <= promise.at + LATE:
            verdict.unknown.append(f"{where}: this copy ends too early; take a newer one")
        else:
            verdict.findings.append(Finding(where, "broken: the log goes on without the entry"))


def _is_signed(promise: Promise, trust: Trust) -> bool:
    for key in trust.keys:
        log = log_of(key.name)
        named = key if log is None else replace(key, name=f"{log}{promise.year}")
        try:
            promise.check(named)
        except ProofError:
            continue
        return True
    return False


def _checkpoint(note: bytes, trust: Trust, verdict: Verdict) -> Checkpoint | None:
    try:
        checkpoint, verdict.cosigned = opened(note, trust)
    except ProofError as error:
        if error.code == NO_KEY:
            verdict.unknown.append(str(error))
        else:
            verdict.findings.append(Finding(CHECKPOINT, str(error)))
        return None
    verdict.origin, verdict.size = checkpoint.origin, checkpoint.size
    verdict.root = checkpoint.root.hex()
    if len(set(verdict.cosigned)) < trust.quorum:
        verdict.unknown.append(
            f"{len(set(verdict.cosigned))} witnesses cosigned it and {trust.quorum} are asked for"
        )
    return checkpoint


def _goes_on(older: Checkpoint, now: Checkpoint, copy: Copy, verdict: Verdict) -> None:
    """See that the log of now begins with the log of an older checkpoint."""
    where = f"checkpoint of {older.size} entries"
    if older.size > now.size:
        verdict.findings.append(Finding(where, f"the log has shrunk to {now.size} since"))
        return
    if older.size == 0:
        if older.root != EMPTY_ROOT:
            verdict.findings.append(Finding(where, "its root is not that of an empty log"))
        return
    try:
        node = Hashes(now.size, lambda tile: needed(copy, tile))
        proof = consistency_proof(older.size, now.size, node)
        verify_consistency(older.size, older.root, now.size, now.root, proof)
    except ObjectError as error:
        verdict.unknown.append(f"{where}: {error}")
    except ProofError as error:
        verdict.findings.append(Finding(where, f"the log of now does not begin so: {error}"))
    else:
        verdict.remarks.append(f"goes on from the {where} that was kept")
