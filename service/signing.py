"""Our own issuer as the database has it at this moment: the key that signs, and the ones before it.

    generation n + 1 made   it signs from then on; n verifies until what it signed has died

Keys are the generations of one secret of the store, sealed by the KEK. A worker looks for a new one
whenever it signs, every five seconds while it verifies, and for a name that it does not know at
once, but not more than once a second: names are the caller's to make up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.identity import LIFE
from service.issuers import Issuer
from service.jose import EDDSA

if TYPE_CHECKING:
    from service.jose import Key
    from store.parts import Store

SECRET = "token-signing"  # noqa: S105 - the name of a secret
GRACE = 60.0  # seconds: a worker may have signed with the old key while it was being replaced
_LOOK = 5.0  # seconds between looks while verifying
_LEAST = 1.0  # seconds between looks for unknown names


class Signing:
    """The embedded issuer of one store, kept up to date; one of the `Trusted`."""

    algorithms = (EDDSA,)

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: list[tuple[int, float]] = []
        store.keys.secrets.of(SECRET)
        self._take(store.keys.secrets.generations(SECRET))
        self._looked = store.clock.monotonic()

    @property
    def audience(self) -> str:
        """The ``aud`` of its tokens."""
        return self._issuer.audience

    @property
    def url(self) -> str:
        """Its name."""
        return self._issuer.url

    async def current(self) -> Issuer:
        """Return the issuer with the key that signs now."""
        await self._renew()
        return self._issuer

    async def key(self, kid: str, now: float) -> Key | None:
        """Return the public key called ``kid`` if what it signed still counts at ``now``."""
        age = self._store.clock.monotonic() - self._looked
        if age >= _LOOK or (kid not in self._public and age >= _LEAST):
            await self._renew()
        key, until = self._public.get(kid, (None, 0.0))
        return key if now < until else None

    def name(self, client_id: str) -> str | None:  # noqa: ARG002 - the protocol's
        """Return None: a client's id is its party's code."""
        return None

    async def _renew(self) -> None:
        database = self._store.database
        made = await database.aside(self._store.keys.secrets.generations, SECRET)
        if made != self._made:
            await database.threaded(self._take, made)  # the KEK is asked for a new one
        self._looked = self._store.clock.monotonic()

    def _take(self, made: list[tuple[int, float]]) -> None:
        newest, *before = [self._store.keys.secrets.of(SECRET, n) for n, _ in reversed(made)]
        # A key counts until the last token died that was signed before the next was made.
        ends = [at + LIFE + GRACE for _, at in reversed(made)]
        now = self._store.clock.now()
        older = [one for one in zip(before, ends[:-1], strict=True) if now < one[1]]
        self._issuer = Issuer.from_seed(self._store.settings.public_url, newest, older)
        self._public = self._issuer.public_keys()
        self._made = made
