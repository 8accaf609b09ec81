"""The keys that sign the log: the newest, and older ones beside it for those who know only them.

    secret `log-signing`, one Ed25519 seed for each generation; the origin's name for all of them

A checkpoint is signed by the newest key, by each older one that signed the checkpoint before it,
and by one whose successor is younger than OVERLAP. So whoever verified the log before a rotation
goes on verifying it by the key that he has, to the year's end at least. Which key follows stands in
the log as an entry, so that the older key signs the newer one over: see `verdicts.names_key`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from store.proofs.notes import Signer, split_note

if TYPE_CHECKING:
    from store.keys.register import Keys
    from store.ports import Clock

SECRET: Final = "log-signing"  # noqa: S105 - the name of a secret
OVERLAP: Final = 90 * 86_400.0  # seconds for which the key before signs at least
MOST: Final = 8  # keys under one checkpoint; a note has room for 64 lines, witnesses' too
Generations = Callable[[], Sequence[tuple[int, float]]]


class LogKeys:
    """Which keys sign, by what the key register has at each moment.

    Args:
        generations: Returns number and birth of each generation, oldest first.
        seed: Returns the seed of a generation, made when first asked for.
        clock: Tells how old a generation is.
    """

    def __init__(
        self, generations: Generations, seed: Callable[[int], bytes], clock: Clock
    ) -> None:
        self._generations, self._seed, self._clock = generations, seed, clock

    @classmethod
    def of(cls, keys: Keys, clock: Clock) -> LogKeys:
        """Return those of a key register."""
        return cls(
            partial(keys.secrets.generations, SECRET), partial(keys.secrets.of, SECRET), clock
        )

    def newest(self, origin: str) -> Signer:
        """Return the newest key under the name of a log."""
        return Signer(origin, self._seed(self._made()[-1][0]))

    def every(self, origin: str) -> list[Signer]:
        """Return each key that there ever was, the newest first."""
        return [Signer(origin, self._seed(number)) for number, _ in reversed(self._made())]

    def signing(self, origin: str, before: bytes | None) -> list[Signer]:
        """Return the keys that sign the checkpoint after ``before``, the newest first."""
        newest, *older = self.every(origin)
        births = [born for _, born in reversed(self._made())]
        now, signed = self._clock.now(), signers_of(before, older)
        kept = [
            one
            for one, successor in zip(older, births, strict=False)
            if one in signed or now < successor + OVERLAP
        ]
        return [newest, *kept][:MOST]

    def _made(self) -> Sequence[tuple[int, float]]:
        return self._generations() or [(1, self._clock.now())]


def signers_of(note: bytes | None, signers: Sequence[Signer]) -> list[Signer]:
    """Return those of ``signers`` by whose key a line stands under ``note``, none of it checked."""
    lines = [] if note is None else split_note(note)[1]
    return [one for one in signers if any(one.verifier.made(line) for line in lines)]
