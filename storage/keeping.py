"""Which rows of the ledger are kept when it is cleared: all that somebody or something still needs.

Roots are what refs point to and the last runs of every recipe, with what they were given and left
behind, and all that people said or brought. Kept is what the roots were made from, and what a kept
run would ask again: it is served from the ledger, though it led to no row that is kept.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from storage.ids import PREFIXES
from storage.ledger import Connection, Row, rows
from storage.lineage_walk import HOMES, KINDS, Walk
from storage.refs import standing

KEPT_RUNS = """
    CREATE OR REPLACE TEMP TABLE kept_runs AS
    SELECT run_id, recipe, constitution_id, state, until, started_at, ended_at FROM runs
    QUALIFY row_number() OVER (PARTITION BY recipe ORDER BY started_at DESC) <= $1
        OR started_at >= coalesce($2::TIMESTAMPTZ, 'infinity'::TIMESTAMPTZ)"""
IN_KEPT_RUN = "run_id IN (SELECT run_id FROM kept_runs)"
# What refs point to, and those that runs move pointed to when a kept run ended.
POINTED = """
    SELECT target_id AS id FROM refs
    UNION SELECT arg_max(m.target_id, m.number) FROM kept_runs r
        JOIN ref_moves m ON starts_with(m.name, r.recipe || '/latest/')
            AND m.moved_at <= coalesce(r.ended_at, m.moved_at)
        GROUP BY r.run_id, m.name"""
MOVED_BY_PEOPLE = """
    SELECT * FROM ref_moves WHERE NOT regexp_matches(name, '(^|/)(latest|ablate)/')
    ORDER BY number"""
OF_RUNS = " UNION ".join(
    [
        "SELECT d.subject_id FROM decisions d SEMI JOIN kept_runs USING (run_id)",
        "SELECT row_id FROM exclusions SEMI JOIN kept_runs USING (run_id)",
        "SELECT pair_id FROM labels SEMI JOIN kept_runs USING (run_id)",
        *(
            f"SELECT {kind}_id FROM {kind}s SEMI JOIN kept_runs USING (run_id)"
            for kind in ("checkpoint", "dataset", "revision", "comparison", "completion")
        ),
    ]
)
# What people said or brought, and what a model wrote for them to look at.
OF_PEOPLE = f"""
    SELECT pair_id FROM labels WHERE given_by = 'people' OR verdict_id IS NOT NULL
    UNION SELECT row_id FROM set_rows
    UNION SELECT dataset_id FROM datasets WHERE starts_with(run_id, '{PREFIXES["set"]}_')
    UNION SELECT example_id FROM examples WHERE source IN ('people', 'imported')
    UNION SELECT pair_id FROM pairs WHERE source IN ('people', 'imported')
    UNION SELECT p.pair_id FROM pairs p JOIN verdicts v USING (prompt_id)
        WHERE (chosen, rejected) IN ((v.first, v.second), (v.second, v.first))
    UNION SELECT c.completion_id FROM completions c JOIN verdicts v USING (prompt_id)
        WHERE trim(c.text) IN (trim(v.first), trim(v.second))
    UNION SELECT completion_id FROM completions WHERE step = 'prompts'"""
WORDS = """
    CREATE OR REPLACE TEMP TABLE kept_words AS
    SELECT DISTINCT critique, revision, comparison FROM principles WHERE principle_id IN (
        SELECT unnest(principle_ids) FROM constitutions WHERE constitution_id IN (
            SELECT constitution_id FROM kept_runs UNION SELECT target_id FROM refs))"""
# A run that did not come to its pairs has not said what it left out: any prompt may be its own.
ANY_PARTIAL = """
    SELECT 1 FROM kept_runs WHERE state <> 'completed'
        OR until IN ('drafts', 'critiques', 'revisions', 'samples', 'comparisons') LIMIT 1"""
MANNER = "step, model_id, temperature, top_p, coalesce(few_shot_id, '')"
JUDGING = "model_id, method, coalesce(few_shot_id, '')"


def _behind(con: Connection) -> list[str]:
    """What a rollback of each ref that people move would bring back."""
    moves: dict[str, list[Row]] = defaultdict(list)
    for made in rows(con, MOVED_BY_PEOPLE):
        moves[made["name"]].append(made)
    stood = (standing(of_one) for of_one in moves.values())
    return [ids[-2] for ids in stood if len(ids) > 1]


class Kept:
    """The rows that are kept, as sets within one transaction."""

    def __init__(self, con: Connection, keep_runs: int, since: datetime | None) -> None:
        """keep_runs: the last so many of every recipe; since: and all that began from then on."""
        self.con = con
        con.execute(KEPT_RUNS, [keep_runs, since])
        con.execute(WORDS)
        con.execute(f"CREATE OR REPLACE TEMP TABLE roots AS {POINTED} UNION {OF_RUNS}")
        con.execute(f"INSERT INTO roots {OF_PEOPLE}")
        con.execute("INSERT INTO roots SELECT unnest($1::VARCHAR[])", [_behind(con)])
        self._is_any_prompt = bool(rows(con, ANY_PARTIAL))
        self.walk = Walk(con, [], "up", name="kept")
        for kind in KINDS:
            table, column = HOMES[kind]
            sql = f"SELECT {column} FROM {table} WHERE {column} IN (SELECT id FROM roots)"
            self.walk.add(kind, sql)
        self.walk.go()
        while sum([self.walk.add(kind, sql) for kind, sql in self._served()]):
            self.walk.go()

    def has(self, kind: str, column: str) -> str:
        """The SQL condition that a column holds an id that is kept."""
        return self.walk.has(kind, column)

    def _served(self) -> list[tuple[str, str]]:
        """(kind, SELECT of ids) of what a kept run would find there, by what is kept so far; and
        the evaluation that judged a kept checkpoint last."""
        first, second, kept = (
            self.has("completion", f"{name}completion_id") for name in ("first_", "second_", "")
        )
        revised = " AND ".join(
            self.has("completion", f"{name}_completion_id")
            for name in ("response", "critique", "revision")
        )
        sides = " AND ".join(
            f"({side}_completion_id IS NULL OR {self.has('completion', f'{side}_completion_id')})"
            for side in ("chosen", "rejected")
        )
        judged = f"({JUDGING}) IN (SELECT DISTINCT ({JUDGING}) FROM comparisons"
        judged += f" WHERE {self.has('comparison', 'comparison_id')})"
        evaluated = f"WHERE {self.has('checkpoint', 'checkpoint_id')} GROUP BY checkpoint_id"
        return [
            *(("completion", sql) for sql in self._answers()),
            ("revision", f"SELECT revision_id FROM revisions WHERE {revised}"),
            ("pair", f"SELECT pair_id FROM pairs WHERE {sides}"),
            ("example", f"SELECT example_id FROM examples WHERE {kept}"),
            (
                "comparison",
                "SELECT comparison_id FROM comparisons c JOIN principles p USING (principle_id)"
                f" SEMI JOIN kept_words w ON w.comparison = p.comparison WHERE {judged}"
                f" AND (first_completion_id IS NULL OR {first})"
                f" AND (second_completion_id IS NULL OR {second})",
            ),
            ("comparison", f"SELECT comparison_id FROM labels WHERE {self.has('pair', 'pair_id')}"),
            ("checkpoint", f"SELECT arg_max(evaluation_id, created_at) FROM gates {evaluated}"),
        ]

    def _answers(self) -> list[str]:
        """Drafts and answers asked in the manner of kept ones; critiques and revisions in words of
        a kept constitution, of what is kept.
        """
        kept = self.has("completion", "completion_id")
        same = f"({MANNER}) IN (SELECT DISTINCT ({MANNER}) FROM completions WHERE {kept})"
        if not self._is_any_prompt:
            same += f" AND {self.has('prompt', 'prompt_id')}"
        asked = "SELECT completion_id FROM completions"
        found = [f"{asked} WHERE step IN ('draft', 'sample', 'teacher') AND {same}"]
        before: list[str] = []
        for step, word, builds_on in (
            ("critique", "w.critique = p.critique", "response"),
            ("revision", "(w.critique, w.revision) = (p.critique, p.revision)", "critique"),
        ):
            before.append(self.has("completion", f"{builds_on}_completion_id"))
            own = f"SELECT {step}_completion_id FROM revisions"
            found.append(
                f"{asked} JOIN principles p USING (principle_id) SEMI JOIN kept_words w ON {word}"
                f" WHERE step = '{step}' AND {same} AND (completion_id NOT IN ({own})"
                f" OR completion_id IN ({own} WHERE {' AND '.join(before)}))"
            )
        return found
