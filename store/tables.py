"""The catalogue's tables. What each column means stands here; how they change, in `migrations`.

Times are seconds since 1970 (UTC), half-hours and days are numbers (see `reads`), identifiers of
16 bytes are random. No table holds a meter point or an energy in plaintext.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# SQLite counts rows only in a column that it calls INTEGER.
_Serial = BigInteger().with_variant(Integer, "sqlite")

head = Table(  # one row: what every commit locks
    "head",
    metadata,
    Column("one", Integer, primary_key=True),
    Column("store", LargeBinary, nullable=False),  # 16 bytes, random, in every AAD
    Column("commit", BigInteger, nullable=False),  # the newest commit number; 0 when empty
    Column("batch", BigInteger, nullable=False),  # the newest batch number ever reserved
    Column("moves", BigInteger, nullable=False),  # counts move-ins and erasures
    Column("lookup", SmallInteger, nullable=False, default=1),  # generation of the tags
    Column("lookup_next", SmallInteger),  # to which they are being renamed now
)

keks = Table(  # the keys that wrap all others, one after the other
    "keks",
    metadata,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("named", LargeBinary, nullable=False),  # SHA-256 of where it is kept
    Column("probe", LargeBinary, nullable=False),  # wrapped by it: tells whether it is the one
    Column("begun", Float, nullable=False),
    Column("ended", Float),  # from then on it wraps nothing of this store
    Column("destroyed", Float),  # when its destruction was stated
)

jobs = Table(  # long work on the whole store: one process at a time, taken up after a crash
    "jobs",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("holder", LargeBinary, nullable=False),  # 16 random bytes of the process at it
    Column("expires", Float, nullable=False),
    Column("begun", Float, nullable=False),
    Column("state", Text, nullable=False),  # canonical JSON: how far it is
)

batches = Table(  # reserved and not yet committed: the right to commit, taken away by sweep
    "batches",
    metadata,
    Column("batch", BigInteger, primary_key=True, autoincrement=False),
    Column("expires", Float, nullable=False),
)

commits = Table(
    "commits",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("batch", BigInteger, unique=True),  # NULL for a revert
    Column("days", BigInteger, nullable=False),
    Column("reads", BigInteger, nullable=False),
    Column("entry", LargeBinary, nullable=False),  # its leaf
)

reverts = Table(  # commits left out of every answer from another commit on
    "reverts",
    metadata,
    Column("commit", BigInteger, primary_key=True, autoincrement=False),
    Column("by", BigInteger, nullable=False),  # the commit that says so
)

ledger = Table(  # what was taken in; the same bytes with the same profile add nothing
    "ledger",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("profile", String(200), primary_key=True),
    Column("commit", BigInteger, nullable=False),
    Column("reads", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
)

files = Table(
    "files",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("state", SmallInteger, nullable=False),  # files.FileState
    Column("register", SmallInteger, nullable=False),
    Column("month", Integer, nullable=False),
    Column("level", SmallInteger, nullable=False),
    Column("low", LargeBinary, nullable=False),  # its first subject
    Column("high", LargeBinary, nullable=False),  # its last subject
    Column("rows", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes
    Column("index_digest", LargeBinary, nullable=False),  # SHA-256 over its run index
    Column("batch", BigInteger, nullable=False),  # under which it was written
    Column("since", Float, nullable=False),  # when it came into its state
    Index(None, "register", "month", "state"),
    Index(None, "batch"),
)

runs = Table(  # the run index of a file, in pages of RUNS_PER_PAGE runs
    "runs",
    metadata,
    Column("file", BigInteger, primary_key=True, autoincrement=False),
    Column("first", LargeBinary, primary_key=True),  # the first subject of the page
    Column("page", LargeBinary, nullable=False),
)

bucket_keys = Table(
    "bucket_keys",
    metadata,
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("wrapped", LargeBinary, nullable=False),  # by the KEK
    Column("kek", Integer, nullable=False, default=1),  # epoch of that KEK
    Column("created", Float, nullable=False, default=0.0),
)

deks = Table(
    "deks",
    metadata,
    Column("subject", LargeBinary, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("generation", Integer, nullable=False),  # of the bucket key that wraps it
    Column("wrapped", LargeBinary, nullable=False),
    Column("check", LargeBinary, nullable=False),
)

secrets = Table(  # the store's own keys: look-up, handles, quarantine, token signing
    "secrets",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("wrapped", LargeBinary, nullable=False),  # by the KEK
    Column("created", Float, nullable=False),
    Column("kek", Integer, nullable=False, default=1),  # epoch of that KEK
)

tenancies = Table(  # one customer at one meter point; it ends where the next begins
    "tenancies",
    metadata,
    Column("tag", LargeBinary, primary_key=True),  # HMAC of the meter point; see `keys`
    Column("start", BigInteger, primary_key=True, autoincrement=False),  # 0: open-ended
    Column("subject", LargeBinary, unique=True),  # NULL: a tombstone
    Column("mpxn", LargeBinary),  # the meter point sealed under the subject's DEK
    Column("erased", Float),
    Column("moved", BigInteger, nullable=False),  # head.moves when it began or was erased; else 0
    Column("entry", LargeBinary, nullable=False),
    Index(None, "tag", "start", "subject", "entry"),  # all that a decision looks at
)

erasures = Table(  # what was erased, until it is erased everywhere
    "erasures",
    metadata,
    Column("entry", LargeBinary, primary_key=True),  # the leaf that says so
    Column("at", Float, nullable=False),
    Column("customers", Integer, nullable=False),
    Column("kek", Integer, nullable=False),  # the newest epoch: a backup of then is under it
    Column("everywhere", LargeBinary),  # the leaf that says so; NULL: a backup may open it still
    Index(None, "everywhere", "at"),
)

rejected = Table(  # refused lines, sealed, a few hundred to a row
    "rejected",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("batch", BigInteger, nullable=False, index=True),
    Column("digest", LargeBinary, nullable=False),  # of the file they came in
    Column("profile", String(200), nullable=False),
    Column("reason", String(60), nullable=False),
    Column("first_line", BigInteger, nullable=False),
    Column("lines", Integer, nullable=False),
    Column("subject", LargeBinary, index=True),  # NULL: sealed under the quarantine key
    Column("key", Integer, nullable=False),  # DEK number, or quarantine key generation
    Column("sealed", LargeBinary, nullable=False),
    Column("replayed", BigInteger),  # the commit that took them in after all
)

parties = Table(
    "parties",
    metadata,
    Column("code", String(40), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("roles", Text, nullable=False),  # words, blank between
    Column("entry", LargeBinary, nullable=False),
)

client_keys = Table(
    "client_keys",
    metadata,
    Column("party", String(40), primary_key=True),
    Column("kid", String(64), primary_key=True),
    Column("jwk", Text, nullable=False),  # public
    Column("entry", LargeBinary, nullable=False),
)

registrations = Table(
    "registrations",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("tag", LargeBinary, nullable=False),
    Column("party", String(40), nullable=False),
    Column("role", String(8), nullable=False),
    Column("premises", String(20), nullable=False),
    Column("start", BigInteger, nullable=False),  # half-hour
    Column("end", BigInteger),  # half-hour; NULL: until told otherwise
    Column("entry", LargeBinary, nullable=False),
    UniqueConstraint("tag", "party", "role", "start"),
    # All that a decision looks at, a party's together: fleets are decided from it alone.
    Index(None, "party", "tag", "role", "premises", "start", "end", "entry"),
)

consents = Table(
    "consents",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tag", LargeBinary, nullable=False),
    Column("tenancy", BigInteger, nullable=False),  # start of the tenancy that consented
    Column("party", String(40), nullable=False),
    Column("purpose", String(60), nullable=False),
    Column("start", BigInteger, nullable=False),  # half-hours of data, [start, end)
    Column("end", BigInteger),
    Column("granularity", String(8), nullable=False),
    Column("registers", Text, nullable=False),  # words, blank between; empty: all
    Column("granted", Float),  # NULL: not yet
    Column("expires", Float),
    Column("reminder_due", Float),
    Column("evidence", LargeBinary, nullable=False),  # SHA-256 of what proves it; empty: not yet
    Column("reference", Text, nullable=False),
    Column("state", String(30), nullable=False),
    Column("version", Integer, nullable=False),  # of its newest event
    Column("entry", LargeBinary, nullable=False),
    Column("basis", String(20), nullable=False),  # as whom it was granted; empty: not yet
    Column("text_version", String(60), nullable=False),  # which text the customer saw
    Column("channel", String(40), nullable=False),  # how they said it
    Column("requested", Float),  # NULL: granted without a request
    Column("answer_by", Float),  # from then on a request has timed out
    Index(None, "tag", "party"),
    Index(None, "party", "tag"),
)

consent_events = Table(  # what happened to a consent, in order; its row above is their sum
    "consent_events",
    metadata,
    Column("consent", String(40), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3 ..
    Column("event", String(30), nullable=False),
    Column("at", Float, nullable=False),
    Column("party", String(40), nullable=False),  # who said so; empty: the machine's operator
    Column("basis", String(20), nullable=False),  # as whom
    Column("tag", LargeBinary, nullable=False),
    Column("changes", Text, nullable=False),  # canonical JSON: the columns that it sets
    Column("entry", LargeBinary, nullable=False),
)

supply_choices = Table(  # a customer's choice towards a supplier, newest wins
    "supply_choices",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("tag", LargeBinary, nullable=False),
    Column("party", String(40), nullable=False),
    Column("granularity", String(8), nullable=False),
    Column("choice", String(10), nullable=False),  # notice, opt-out, opt-in
    Column("at", Float, nullable=False),
    Column("entry", LargeBinary, nullable=False),
    Index(None, "tag", "party"),
)

leaves = Table(  # the log, in the order of commits; a sequencer gives each its place
    "leaves",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("entry", LargeBinary, nullable=False, unique=True),
    Column("shard", Integer),  # the year whose tree it stands in; NULL until it has a place
    Column("position", BigInteger),  # in that tree, from 0
    Column("at", Float, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    UniqueConstraint("shard", "position"),
    Index(
        "ix_leaves_waiting", "id",
        sqlite_where=text("position IS NULL"), postgresql_where=text("position IS NULL"),
    ),
)  # fmt: skip

details = Table(  # the erasable half of a leaf
    "details",
    metadata,
    Column("entry", LargeBinary, primary_key=True),
    Column("key", LargeBinary, nullable=False),  # of the leaf's commitment
    Column("detail", Text, nullable=False),  # canonical JSON
)

trees = Table(  # one tree of the log a year
    "trees",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),  # the year
    Column("origin", Text, nullable=False),  # its name in checkpoints; never changes
    Column("numbered", BigInteger, nullable=False),  # leaves that have a place
    Column("published", BigInteger, nullable=False),  # leaves under its newest checkpoint
    Column("root", LargeBinary, nullable=False),  # of that checkpoint
)

checkpoints = Table(  # sizes at which a tree was, or is about to be, published
    "checkpoints",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root", LargeBinary),  # NULL: tiles of this size may be there, no checkpoint is
    Column("at", Float),
    Column("note", Text),  # as signed, with its cosignatures
)

sequencer = Table(  # one row: who may number leaves
    "sequencer",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("holder", String(40), nullable=False),
    Column("epoch", BigInteger, nullable=False),  # raised whenever the holder changes
    Column("until", Float, nullable=False),  # from then on another may take over
)

policy_sets = Table(  # each change of the policy set that a service started with
    "policy_sets",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("at", Float, nullable=False),
    Column("entry", LargeBinary, nullable=False),
)

once = Table(  # what may be used only once: assertions, proofs
    "once",
    metadata,
    Column("token", LargeBinary, primary_key=True),  # digest of who and which
    Column("expires", Float, nullable=False, index=True),
)

# ---- what an auditor searches: made of the tree's leaves and their details, and made anew of them

log_entries = Table(  # a leaf of the tree
    "log_entries",
    metadata,
    Column("place", BigInteger, primary_key=True, autoincrement=False),  # log_rows.place_of
    Column("entry", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),  # milliseconds since 1970
    Column("kind", String(12), nullable=False),
    Column("party", String(40), nullable=False),
    Column("action", String(60), nullable=False),
    Column("decision", String(60), nullable=False),
    Column("person", String(200)),  # who acted for the party; NULL: its own client
    Column("half_hours", BigInteger),  # that were allowed; of an outcome: that left
    Column("follows", LargeBinary),  # of an outcome: its intent's entry
    Column("aborted", Boolean, nullable=False),  # an outcome that says that nothing whole left
    Index(None, "party", "place"),
    Index(None, "decision", "place"),
    Index(None, "kind", "place"),
)
Index(
    "ix_log_entries_person", log_entries.c.person, log_entries.c.place,
    sqlite_where=log_entries.c.person.is_not(None),
    postgresql_where=log_entries.c.person.is_not(None),
)  # fmt: skip
Index(
    "ix_log_entries_follows", log_entries.c.follows,
    sqlite_where=log_entries.c.follows.is_not(None),
    postgresql_where=log_entries.c.follows.is_not(None),
)  # fmt: skip

log_subjects = Table(  # whose reads an entry is about; an erased customer stands nowhere in it
    "log_subjects",
    metadata,
    Column("subject", LargeBinary, primary_key=True),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Index(None, "place"),
    sqlite_with_rowid=False,
)

log_consents = Table(  # which consents an entry rests on, or states something of
    "log_consents",
    metadata,
    Column("consent", String(40), primary_key=True),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("purpose", String(60), nullable=False),
    Index(None, "purpose", "place"),
    Index(None, "place"),
    sqlite_with_rowid=False,
)

log_hours = Table(  # where the entries of an hour stand, so that a time is found without an index
    "log_hours",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),  # since 1970
    Column("low", BigInteger, nullable=False),  # the first place of one of its entries
    Column("high", BigInteger, nullable=False),  # the last
)

log_rebuilds = Table(  # how far the index of a shard was made anew; no row: nothing is under way
    "log_rebuilds",
    metadata,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("next", BigInteger, nullable=False),  # the position to go on from
)

exports = Table(  # one party's order of many meter points at once
    "exports",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("party", String(40), nullable=False, index=True),
    Column("state", String(12), nullable=False),  # see export_book
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),  # from then on its parts are gone
    Column("question", Text, nullable=False),  # canonical JSON; no meter point
    Column("recipient", String(80), nullable=False),  # age: what its parts are sealed to
    Column("commit", BigInteger),  # NULL until it is decided
    Column("meters", BigInteger, nullable=False),  # subjects allowed
    Column("told", Text, nullable=False),  # canonical JSON: what was refused, how often
    Column("entry", LargeBinary),  # the leaf that says so
    Column("ended", LargeBinary),  # the leaf of its end
    Column("failed", String(40)),  # the code of what stopped it
    Column("epoch", BigInteger, nullable=False),  # counts who took it up
    Column("lease", Float, nullable=False),  # until when whoever took it up may work
)

export_asked = Table(  # the meter points that an export was asked for by name
    "export_asked",
    metadata,
    Column("export", String(40), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("tag", LargeBinary, nullable=False),
    Column("handle", String(64), nullable=False),  # the party's own name for it
    Column("code", String(40)),  # why it is left out, wholly or from some part on
    Index(None, "export", "tag"),
)

export_meters = Table(  # what an export was allowed when it was decided
    "export_meters",
    metadata,
    Column("export", String(40), primary_key=True),
    Column("subject", LargeBinary, primary_key=True),
    Column("registers", SmallInteger, primary_key=True, autoincrement=False),  # 1 << number, added
    Column("start", BigInteger, primary_key=True, autoincrement=False),  # half-hour
    Column("end", BigInteger, nullable=False),
    Column("tag", LargeBinary, nullable=False),
    Column("number", BigInteger, nullable=False),  # its leaf in the export's own tree
)

export_parts = Table(
    "export_parts",
    metadata,
    Column("export", String(40), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3 ..
    Column("slice", Integer, nullable=False),  # parts of one subject range: one task
    Column("low", LargeBinary, nullable=False),  # its first subject
    Column("high", LargeBinary, nullable=False),  # its last subject
    Column("register", SmallInteger, nullable=False),
    Column("month", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),  # how often it was begun; in its object's name
    Column("published", Float),  # NULL: not yet
    Column("rows", BigInteger, nullable=False),  # 0: nothing to tell, so no object
    Column("expected", BigInteger, nullable=False),  # half-hours allowed
    Column("present", BigInteger, nullable=False),  # half-hours with a read
    Column("size", BigInteger, nullable=False),  # bytes, sealed
    Column("sealed", LargeBinary, nullable=False),  # SHA-256 of the age file
    Column("plain", LargeBinary, nullable=False),  # SHA-256 of what is in it
    Index(None, "export", "slice"),
)

export_customers = Table(  # whose reads an export held, 96 to a page; stays when the export goes
    "export_customers",
    metadata,
    Column("export", String(40), primary_key=True),
    Column("first", LargeBinary, primary_key=True),  # the first subject of the page
    Column("page", LargeBinary, nullable=False),  # subjects, ascending
)

export_grounds = Table(  # which fact each meter of an export rested on; stays when the export goes
    "export_grounds",
    metadata,
    Column("export", String(40), primary_key=True),
    Column("first", BigInteger, primary_key=True, autoincrement=False),  # number of a meter
    Column("page", LargeBinary, nullable=False),  # entries, 16 bytes each, by number of the meter
)

pins = Table(  # who still reads files that were live at a moment: sweep leaves them
    "pins",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("taken", Float, nullable=False),
    Column("expires", Float, nullable=False),
)

allowances = Table(  # what clients have left of their limits
    "allowances",
    metadata,
    Column("client", String(64), primary_key=True),
    Column("kind", String(8), primary_key=True),  # requests, volume
    Column("at", Float, nullable=False),  # see `allowances`
    Column("used", BigInteger, nullable=False),
)
