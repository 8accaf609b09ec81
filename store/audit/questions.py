"""What `analysis` asks of duckdb. Data: SQL in the order in which it is run.

entries, customers   as the index has them
accesses             every access of a party to reads: one row, with what became of it
judged               each party and hour in which customers were read, beside its usual hour
beside               each party and day, beside the days before
"""

from __future__ import annotations

from typing import Final

TABLES: Final = {
    "entries": """
        CREATE TABLE entries (place BIGINT, ms BIGINT, kind VARCHAR, party VARCHAR, action VARCHAR,
                              half_hours BIGINT, entry BIGINT, follows BIGINT, aborted BOOLEAN)""",
    "customers": "CREATE TABLE customers (place BIGINT, subject BIGINT)",
}

_ACCESSES: Final = """
    CREATE TABLE accesses AS
    WITH outcomes AS (
        SELECT follows, min_by(half_hours, place) AS sent, min_by(aborted, place) AS aborted
        FROM entries WHERE kind = 'outcome' AND follows IS NOT NULL GROUP BY follows
    )
    SELECT e.place, e.ms, e.party, e.kind <> 'denied' AS answered, e.half_hours, o.sent,
           e.kind = 'export' OR o.follows IS NOT NULL AS followed,
           coalesce(o.aborted, false) AS aborted,
           make_timestamptz(e.ms * 1000) AS utc,
           make_timestamptz(e.ms * 1000) AT TIME ZONE 'Europe/London' AS london
    FROM entries e LEFT JOIN outcomes o ON o.follows = e.entry
    WHERE e.party <> '' AND (e.action = 'export' OR (e.kind IN ('intent', 'denied')
          AND split_part(e.action, ' ', 1) IN ('read', 'coverage', 'changes', 'decide')))"""

# What is usual is the median of the busiest hours of the party's other days: a first day has none.
_JUDGED: Final = """
    CREATE TABLE judged AS
    WITH hourly AS (
        SELECT a.party, date_trunc('hour', a.utc) AS hour, any_value(CAST(a.utc AS DATE)) AS day,
               count(DISTINCT c.subject) AS customers, count(DISTINCT a.place) AS entries
        FROM accesses a JOIN customers c ON c.place = a.place GROUP BY ALL
    ), peaks AS (
        SELECT party, day, max(customers) AS peak FROM hourly GROUP BY ALL
    ), others AS (
        SELECT party, day, coalesce(median(peak) OVER (
            PARTITION BY party ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
            EXCLUDE CURRENT ROW
        ), 0) AS usual FROM peaks
    )
    SELECT party, hour, customers, entries, usual,
           customers >= $many AND customers > $times * usual AS burst
    FROM hourly JOIN others USING (party, day)"""

_BESIDE: Final = """
    CREATE TABLE beside AS
    WITH counted AS (
        SELECT party, CAST(london AS DATE) AS day, count(*) AS entries FROM accesses GROUP BY ALL
    ), spans AS (
        SELECT party, min(day) AS first, max(day) AS last FROM counted GROUP BY party
    ), every AS (
        SELECT party, first,
               CAST(unnest(generate_series(first, last, INTERVAL 1 DAY)) AS DATE) AS day
        FROM spans
    ), daily AS (
        SELECT party, first, day, coalesce(entries, 0) AS entries
        FROM every LEFT JOIN counted USING (party, day)
    )
    SELECT party, day, entries, day - first AS seen, median(entries) OVER (
        PARTITION BY party ORDER BY day ROWS BETWEEN $past PRECEDING AND 1 PRECEDING
    ) AS usual FROM daily"""

STEPS: Final = (_ACCESSES, _JUDGED, _BESIDE)

QUESTIONS: Final = {
    "busiest": """
        WITH named AS (
            SELECT a.party, count(DISTINCT c.subject) AS customers
            FROM accesses a JOIN customers c ON c.place = a.place GROUP BY a.party
        )
        SELECT party, count(*) FILTER (WHERE answered) AS answered,
               count(*) FILTER (WHERE NOT answered) AS refused,
               coalesce(any_value(customers), 0) AS customers,
               CAST(coalesce(sum(half_hours) FILTER (WHERE answered), 0) AS BIGINT) AS half_hours,
               CAST(coalesce(sum(sent), 0) AS BIGINT) AS sent,
               count(DISTINCT CAST(london AS DATE)) AS days, min(utc) AS first, max(utc) AS last
        FROM accesses LEFT JOIN named USING (party)
        GROUP BY party ORDER BY count(*) DESC, party""",
    "bursts": """
        SELECT party, hour, customers, usual, entries FROM judged WHERE burst
        ORDER BY customers / greatest(usual, 1) DESC, customers DESC, party, hour""",
    "nights": """
        SELECT party, count(*) FILTER (WHERE hour(london) < $night) AS entries,
               count(*) FILTER (WHERE hour(london) < $night) / count(*) AS share,
               count(DISTINCT CAST(london AS DATE)) FILTER (WHERE hour(london) < $night) AS nights,
               max(utc) FILTER (WHERE hour(london) < $night) AS last
        FROM accesses GROUP BY party
        HAVING entries >= $few AND share <= $rare
        ORDER BY entries DESC, party""",
    "unfollowed": """
        SELECT party, count(*) AS answers, count(*) FILTER (WHERE NOT followed) AS none,
               count(*) FILTER (WHERE aborted) AS aborted
        FROM accesses WHERE answered AND ms < $end - $patience GROUP BY party
        HAVING none > 0 ORDER BY none DESC, party""",
    "changes": """
        SELECT party, day, entries, usual FROM beside
        WHERE seen >= $seen AND entries >= greatest($growth * usual, usual + $more)
        ORDER BY entries / greatest(usual, 1) DESC, party, day""",
    "days": """
        SELECT CAST(london AS DATE) AS day, count(*) FILTER (WHERE answered) AS answered,
               count(*) FILTER (WHERE NOT answered) AS refused
        FROM accesses GROUP BY day ORDER BY day""",
    "hours": """
        SELECT party, hour(london) AS hour, count(*) AS entries
        FROM accesses GROUP BY ALL ORDER BY party, hour""",
    "peaks": """
        SELECT party, hour, customers, burst FROM judged
        ORDER BY burst DESC, customers DESC, party, hour LIMIT 2000""",
}
