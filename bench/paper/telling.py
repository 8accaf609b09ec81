"""The model as a document: tables that a reader can check by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bench.paper import answers, jobs, money, sizes
from bench.paper.checks import Check, checks
from bench.paper.inputs import Inputs, given, measured
from bench.paper.jobs import Work
from bench.paper.sizes import GB
from bench.paper.writing import number, said, size, span, table

_HEAD = """\
# {meters} million meters on AWS, on paper

What this program would ask of AWS, by arithmetic: the formats' sizes, what `make bench` measured
on a small machine, and list prices. **Nothing of it was run on AWS.** `python -m bench.paper`
writes this file from [assumptions and prices](paper/inputs.toml) and
[figures measured](paper/measured.json); a test holds it to them.

First [how far the model is to be believed](#the-model-against-runs), then what it says.
"""


def document(inputs: Inputs) -> str:
    """Return ``bench/scale.md``."""
    parts = [
        _HEAD.format(meters=number(inputs.fleet.meters / 1e6)),
        *_short(inputs),
        *_checks(inputs),
        *_rest(inputs),
        *_daily(inputs),
        *_answers(inputs),
        *_exports(inputs),
        *_keys(inputs),
        *_bill(inputs),
        *_limits(inputs),
        *_believed(),
    ]
    return "\n".join(parts).rstrip() + "\n"


# ---- the parts ---------------------------------------------------------------------------------


def _short(inputs: Inputs) -> Iterator[str]:
    fleet, bill = inputs.fleet, money.total(inputs)
    shorter = money.total(replace(inputs, fleet=replace(fleet, months_kept=13)))
    yield from table(("in short", ""), [
        ("reads kept", size(sizes.object_bytes(inputs, fleet.months_kept))
         + f", {number(fleet.months_kept)} months"),
        ("database", size(sizes.database(inputs).total)),
        ("a month", f"USD {bill:,.0f}: {bill / fleet.meters * 1200:.2f} cents a meter and year"),
        ("a month, were 13 months kept", f"USD {shorter:,.0f}"),
        ("an answer of 13 months, warm", span(answers.answer_ms(inputs, cold=False) / 1e3)),
        (f"an export of {number(fleet.supplier / 1e6)} million meters, 13 months of day rows",
         span(jobs.export_wall_seconds(inputs, fleet.supplier, 13, "day"))
         + f" on {number(fleet.workers)} cores"),
    ])  # fmt: skip


def _checks(inputs: Inputs) -> Iterator[str]:
    yield "## The model against runs\n"
    yield said("""What the model says of runs of `bench`, from the formats or from *other* runs, and
        what those measured. Above nought: the model says too much.""")
    head = ("", "the model says", "measured", "error", "it says so from")
    yield from table(head, map(_checked, checks(inputs)), texts=1)
    yield said("""Requests are arithmetic and come out. Times are worth what a machine with two
        shared cores can tell; what is small costs more than its share, in transactions.
        No run had more than 100,000 meters; what grows otherwise beyond that
        stands under [limits](#limits-found-on-paper).""")


def _checked(one: Check) -> tuple[str, ...]:
    unit = f" {one.unit}" if one.unit else ""
    says, was = (f"{number(value)}{unit}" for value in (one.says, one.measured))
    return one.what, says, was, f"{one.error:+.1%}", one.basis


def _rest(inputs: Inputs) -> Iterator[str]:
    kept = inputs.fleet.months_kept
    yield "## At rest\n"
    rows = []
    for months in (13, kept):
        objects = sizes.level_1_objects(inputs, months)
        rows.append((
            f"{number(months)} months", number(sizes.reads_kept(inputs, months)),
            size(sizes.object_bytes(inputs, months)), number(objects), number(months),
            size(sizes.object_bytes(inputs, months) / objects),
        ))  # fmt: skip
    head = ("compacted", "half-hours", "bytes", "objects", "prefixes", "an object")
    yield from table(head, rows)
    held = sizes.database(inputs)
    yield from table(("beside them", ""), [
        ("level 0 of a day, until it is compacted", size(jobs.ingest_a_day(inputs).put)),
        ("its objects", number(sizes.level_0_a_day(inputs))),
        ("deleted versions, 35 days",
         size(sizes.deleted_bytes(inputs, money.BACKUP_DAYS))),
        ("log: tiles and bundles", size(sizes.log_object_bytes(inputs))),
        ("exports, 14 days", size(jobs.exports_a_month(inputs).put * jobs.EXPORT_DAYS
                                  / sizes.MONTH_DAYS)),
        ("database: customers and keys", size(held.customers)),
        ("database: registrations", size(held.registrations)),
        ("database: run index, 40 bytes a run before PostgreSQL's own", size(held.runs)),
        ("database: log, details and index", size(held.log)),
        ("database: slack", size(held.slack)),
        ("database in all", size(held.total)),
        ("database backups", size(held.total * inputs.fleet.backup_share)),
    ])  # fmt: skip


VERIFIED = 10_000_000  # entries that `bench.verifying` verifies


def _daily(inputs: Inputs) -> Iterator[str]:
    yield "## A day's work\n"
    yield said(f"""{number(sizes.reads_a_day(inputs))} half-hours in,
        {number(sizes.answers_a_day(inputs))} answers out, {number(sizes.entries_a_day(inputs))}
        log entries. Nothing lists objects: the catalogue says what there is.""")
    ingest, compaction = jobs.ingest_a_day(inputs), jobs.compaction_a_day(inputs)
    asked = sizes.answers_a_day(inputs)
    answered = Work(
        asked * answers.core_seconds(inputs) / jobs.HOUR, 0, asked * answers.ranges(inputs),
        asked * answers.kms_calls(inputs), asked * answers.bytes_got(inputs), 0,
    )  # fmt: skip
    exports = jobs.scaled(jobs.exports_a_month(inputs), 1 / sizes.MONTH_DAYS)
    work = {
        "ingest": ingest, "compaction, a mean day": compaction, "answers": answered,
        "exports, a thirtieth of a month's": exports, "log": jobs.log_a_day(inputs),
    }  # fmt: skip
    head = ("", "PUT", "GET", "LIST", "KMS calls", "read", "written", "core-hours")
    yield from table(head, [
        (name, number(round(one.puts)), number(round(one.gets)), "0", number(round(one.kms)),
         size(one.got), size(one.put), number(one.core_hours))
        for name, one in work.items()
    ])  # fmt: skip
    yield said(f"""A pass of compaction takes in all files of a register and month, so it writes the
        month so far: on a mean day {number(sizes.rewritten_days(inputs))} days of reads for each
        that came. First, middle and last day:""")
    passes = (1, round(sizes.MONTH_DAYS / 2), 31)
    titles = ("day of the month", "read", "written", "GET", "PUT", "core-hours")
    yield from table(titles, [
        (number(day), size(one.got), size(one.put), number(one.gets), number(one.puts),
         number(one.core_hours))
        for day, one in ((day, jobs.compaction_pass(inputs, day)) for day in passes)
    ])  # fmt: skip
    tiles = sizes.entries_a_day(inputs) / 256
    year = sizes.entries_a_day(inputs) * 365.25
    verified = span(year * inputs.measured["verified_s"] / VERIFIED)
    yield said(f"""The log's day is {number(tiles)} full bundles and as many full tiles, in
        {number(jobs.passes_a_day(inputs))} passes of the sequencer, each with a checkpoint; partial
        tiles are removed once they are full. An auditor verifies a whole year, {number(year)}
        entries, on one core in {verified}.""")


def _answers(inputs: Inputs) -> Iterator[str]:
    fleet = inputs.fleet
    files = sizes.level_1_a_month(fleet.meters)
    yield "## An answer\n"
    yield from table((f"{number(fleet.answer_months)} months of one meter", ""), [
        ("ranges of objects", number(answers.ranges(inputs))),
        ("bytes of sealed rows", size(answers.bytes_got(inputs))),
        ("KMS calls, a bucket not asked about for 300 s; mean", "1; "
         + number(answers.kms_calls(inputs))),
        ("log entries", number(sizes.ANSWER_ENTRIES)),
        ("core time, database and client included",
         span(answers.core_seconds(inputs))),
        (f"files found among {number(files)} a month", span(answers.found_ms(inputs, files) / 1e3)),
        ("time, warm; cold", span(answers.answer_ms(inputs, cold=False) / 1e3) + "; "
         + span(answers.answer_ms(inputs, cold=True) / 1e3)),
        ("answers a second, mean; peak",
         number(answers.answers_a_second(inputs, peak=False)) + "; "
         + number(answers.answers_a_second(inputs, peak=True))),
        ("cores that answer", number(answers.cores(inputs))),
        ("commits a second of the database at the peak, at most",
         number(answers.database_writes(inputs))),
        ("pages that it reads a second then, if it keeps none in memory",
         number(answers.database_reads(inputs))),
    ])  # fmt: skip
    prices = answers.usd_a_million(inputs)
    yield from table(("a million answers", "USD"), [
        *((name, f"{usd:,.2f}") for name, usd in prices.items()),
        ("**in all**", f"**{sum(prices.values()):,.2f}**"),
    ])  # fmt: skip


def _exports(inputs: Inputs) -> Iterator[str]:
    fleet = inputs.fleet
    yield "## Exports\n"
    a_half_hour, a_meter = jobs.day_rows_ns(inputs)
    yield said(f"""Day rows cost {a_half_hour:.0f} ns of a core a half-hour and
        {a_meter / 1e3:,.0f} us a meter, by the line through the smallest and the largest fleet
        measured. Deciding goes before, on one core, at most
        {inputs.measured["export_decided_us"]:.0f} us a meter.""")
    rows = []
    for meters in (1_000, 20_000, 100_000, fleet.supplier):
        for kind in ("day", "half-hour"):
            one = jobs.export_of(inputs, meters, 13, kind)
            rows.append((
                f"{number(meters)} meters, {kind} rows", number(one.core_hours),
                span(jobs.export_wall_seconds(inputs, meters, 13, kind)), number(one.gets),
                number(one.puts), size(one.put), f"{one.put / GB * inputs.prices.egress_gb:,.2f}",
            ))  # fmt: skip
    head = ("13 months of", "core-hours", f"on {number(fleet.workers)} cores", "GET", "PUT",
            "sealed", "USD to fetch it")  # fmt: skip
    yield from table(head, rows)


def _keys(inputs: Inputs) -> Iterator[str]:
    yield "## Keys\n"
    calls, seconds = jobs.kek_rotation(inputs)
    bucket_calls, hours = jobs.bucket_rotation(inputs)
    daily, usd = inputs.fleet.erased_a_day, inputs.prices.kms_call
    rows = [
        ("a new KEK", number(calls), span(seconds), f"{calls * usd:.2f}"),
        ("new bucket keys, every DEK wrapped anew, at most", number(bucket_calls),
         span(hours * jobs.HOUR), f"{bucket_calls * usd:.2f}"),
        (f"{number(daily)} customers erased, a day's", "0",
         span(jobs.erasing_seconds(inputs, daily)), "0.00"),
        ("100,000 customers erased", "0", span(jobs.erasing_seconds(inputs, 100_000)), "0.00"),
    ]  # fmt: skip
    yield from table(("", "KMS calls", "time", "USD"), rows)
    yield said("""An erasure asks KMS for nothing but the journal's key, once a process. A new
        look-up key renames every row of each meter point, 500 at a time; its speed was not
        measured.""")


def _bill(inputs: Inputs) -> Iterator[str]:
    yield "## A month's bill\n"
    parts = money.monthly(inputs)
    yield from table(("", "USD a month"), [
        *((name, f"{usd:,.0f}") for name, usd in parts.items()),
        ("**in all**", f"**{sum(parts.values()):,.0f}**"),
    ])  # fmt: skip
    yield said("""Left out: people, support, taxes and discounts, what brings files in, logs and
        metrics of the machines, a second region.""")
    yield "What the bill hangs on: an assumption doubled, the others as they are.\n"
    told = given()["fleet"]
    yield from table(("assumption", "doubled from", "the bill"), [
        (f"`{name}`", f"{number(told[name]['value'])} {told[name]['unit']}", f"{share:+.1%}")
        for name, share in money.sensitivities(inputs).items() if abs(share) >= _TOLD
    ])  # fmt: skip


_TOLD = 0.001


def _limits(inputs: Inputs) -> Iterator[str]:
    fleet = inputs.fleet
    files = sizes.level_1_a_month(fleet.meters)
    yield "## Limits found on paper\n"
    yield said(f"""- **One process holds the run indexes of a register and month while it is
        compacted**: {size(jobs.compaction_memory(inputs))} at this size. It checks every range by
        itself, too, while others merge.""")
    more = answers.found_ms(inputs, files) - answers.found_ms(inputs, 1)
    yield said(f"""- **The catalogue looks at {files:,} files a month for an answer**:
        {more:.1f} ms more than in a small store.""")
    yield said("""- **The log is most of the database.** Leaves stay; details go when
        [retention.toml](../policies/retention.toml) says.""")
    alone = span(fleet.supplier * inputs.measured["export_decided_us"] / 1e6)
    yield said(f"""- An export is decided by one process: {alone} of the times above.""")


def _believed() -> Iterator[str]:
    yield "## What the model believes\n"
    told = given()
    for name, title in (("fleet", "assumption"), ("prices", "price, eu-west-2, without tax")):
        yield from table((title, "value", "why"), [
            (f"`{key}`", f"{_exact(one['value'])} {one['unit']}", one["why"])
            for key, one in told[name].items()
        ], texts=1)  # fmt: skip
    figures = measured()
    machine = figures["machine"]
    yield f"Measured on {machine['cores']} cores ({machine['cpu']}, {machine['system']}):\n"
    yield from table(("figure", "value", "of", "taken"), [
        (f"`{key}`", f"{number(one['value'])} {one['unit']}", one["of"], one["date"])
        for key, one in figures["figures"].items()
    ], texts=2)  # fmt: skip


def _exact(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.8f}".rstrip("0")
