"""The key register: KEK > key bucket > DEK, the store's own secrets, and what names a meter point.

    KEK         wraps bucket keys and secrets     (a key file, AWS KMS, a PKCS#11 token)
    bucket key  wraps the DEKs of the subjects whose first 12 bits it has; made when first needed
    DEK         seals the meter-days of one subject

Each has generations: a new one is made beside the old, what the old wraps is wrapped anew in short
transactions, then the old goes (`rotation`).

A DEK is unwrapped for one request and dropped with it; bucket keys are kept for a bounded time, the
store's own secrets as long as the process lives. So erasing a subject holds on the next request of
every worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.keys.bucket_keys import BucketKeys
from store.keys.deks import Deks
from store.keys.handles import Handles
from store.keys.secrets import Secrets
from store.keys.tags import Tags

if TYPE_CHECKING:
    from store.keys.keks import Keks
    from store.ports import Clock
    from store.sql.database import Database


class Keys:
    """The key register of one store.

    Attributes:
        keks: What wraps all others.
        secrets: The store's own.
        buckets: What wraps DEKs.
        deks: What seals.
        tags: The names of meter points in the catalogue.
        handles: Their names among parties.
    """

    def __init__(self, database: Database, keks: Keks, clock: Clock, store: bytes) -> None:
        self.keks = keks
        self.secrets = Secrets(database, keks, clock, store)
        self.buckets = BucketKeys(database, keks, clock, store)
        self.deks = Deks(self.buckets, store)
        self.tags = Tags(database, clock, self.secrets.of)
        self.handles = Handles(self.secrets)
