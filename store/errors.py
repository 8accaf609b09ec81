"""The one tree of errors. Each carries a stable ``code`` and says what to do next.

    MeterkeepError
    +-- InputError             what was given cannot be used; nothing was changed
    |   +-- MalformedMpxnError
    |   +-- MalformedReadError
    |   +-- ProofError         a proof, a signed note or a tile does not say what it should
    +-- RefusedError           a decision, not a fault: who asked may not
    +-- StoreError             the store cannot do what it promised
        +-- NotInitialisedError
        +-- NewerStoreError
        +-- CatalogueError     the database is locked, gone or behind
        +-- CommitConflictError
        +-- ObjectError        the object store refused or lost something
        +-- KekError           the key-encryption key is missing or is another one
        +-- ErasedError        the keys were destroyed
        +-- LogError           the access log cannot be kept up, so nothing is answered
        +-- TamperedError      bytes are not those that were committed: an alarm, never an answer

No message holds a read, a meter point, a key, a path of the machine or a setting's value.
"""


class MeterkeepError(Exception):
    """Anything that Meterkeep raises on purpose.

    Attributes:
        code: Stable snake_case name; programs branch on it, people read the message.
    """

    code = "meterkeep_error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class InputError(MeterkeepError):
    """What was given cannot be used; nothing was changed."""

    code = "bad_input"


class MalformedMpxnError(InputError):
    """Not an MPAN (13 digits with their check digit) nor an MPRN (1 to 10 digits)."""

    code = "malformed_mpxn"

    def __init__(self) -> None:
        super().__init__(
            "not an MPAN (13 digits, the last a check digit) nor an MPRN (1-10 digits)"
        )


class MalformedReadError(InputError):
    """A value that no register of this store can hold."""

    code = "malformed_read"


class ProofError(InputError):
    """A proof, a signed note or a tile does not say what it should. Believe nothing of it."""

    code = "proof_invalid"


class RefusedError(MeterkeepError):
    """A decision went against the caller. ``code`` is one of the contract's refusal codes."""

    code = "refused"


class StoreError(MeterkeepError):
    """The store cannot do what it promised."""

    code = "store_error"


class NotInitialisedError(StoreError):
    """There is no store here yet."""

    code = "not_initialised"

    def __init__(self) -> None:
        super().__init__("there is no store here: run `meterkeep init` (or set METERKEEP_HOME)")


class NewerStoreError(StoreError):
    """The store was written by a newer Meterkeep."""

    code = "newer_store"

    def __init__(self, found: str) -> None:
        super().__init__(
            f"the store has schema {found}, newer than this program: upgrade Meterkeep"
        )


class CatalogueError(StoreError):
    """The database is locked, gone or cannot be written. Nothing stands by half; ask again."""

    code = "catalogue_unavailable"


class CommitConflictError(StoreError):
    """What this commit was based on changed meanwhile; nothing was committed. Run it again."""

    code = "commit_conflict"


class ObjectError(StoreError):
    """The object store refused, or has not what the catalogue names."""

    code = "objects_unavailable"


class KekError(StoreError):
    """The key-encryption key is missing, is another one, or its keeper does not answer."""

    code = "kek_unavailable"


class LogError(StoreError):
    """The access log cannot be kept up, so nothing is answered.

    ``log_behind``: an entry has waited for its checkpoint for too long; it recovers by itself.
    ``log_forked``: a witness has seen another history of this log.
    ``log_clock``: the clock would begin a year's log, and may be wrong; see `log.clock`.
    ``log_rolled_back``: the database is older than the log's own checkpoint.
    """

    code = "log_behind"


class ErasedError(StoreError):
    """The keys of this customer were destroyed; what is stored can never be read again."""

    code = "erased"

    def __init__(self) -> None:
        super().__init__("this customer was erased; the reads cannot be recovered")


class TamperedError(StoreError):
    """Bytes are not those that were committed. An alarm: nothing is answered from them.

    Attributes:
        what: Which promise broke: ``box``, ``run``, ``index``, ``dek``, ``bucket``, ``batch``,
            ``fact``, ``tile``, ``leaf`` or ``checkpoint``.
    """

    code = "tampered"

    def __init__(self, what: str, message: str) -> None:
        super().__init__(message)
        self.what = what
