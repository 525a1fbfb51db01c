"""How long `why` and `impact` take over a ledger of a million completions.

    python tests/benchmarks/lineage.py [--prompts 333334] [--keep FOLDER]

Builds the ledger in a temporary folder with SQL, then runs the real command, a whole process each
time, both ways from a completion, a pair, a principle, the model and the checkpoint behind which
everything lies. Prints a Markdown table of seconds; exit code 1 where one of them takes a second
or more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from storage.ledger import Ledger

ROOT = Path(__file__).resolve().parents[2]
PRINCIPLES = 22
LIMIT_S = 1.0
RUNS = 3  # of each question; the median counts

# `i` numbers the prompts. An id is its kind's prefix and a digest, as real ones are: in no order.
BUILD = """
    CREATE TEMP TABLE numbers AS SELECT i, i % {principles} AS p FROM range({prompts}) r(i);
    CREATE TEMP MACRO id(prefix, name) AS prefix || '_' || md5(prefix || name);
    CREATE TEMP MACRO words(seed, count) AS
        repeat('The answer to question ' || seed || ' is not known. ', count);

    INSERT INTO runs (run_id, recipe, settings, state, started_at)
        VALUES ('run_bench', 'bench', '{{}}', 'completed', now());
    INSERT INTO principles SELECT id('prn', i), 'principle-' || i, 'Principle ' || i,
        'Name what is wrong.', 'Mend it.', 'Which is better?', now() FROM range({principles}) r(i);
    INSERT INTO constitutions (constitution_id, name, principle_ids, body, created_at)
        SELECT id('con', 0), 'bench', list(principle_id), '{{}}', now() FROM principles;
    INSERT INTO models VALUES (id('mdl', 0), NULL, NULL, 'random', 'random:tiny', now());
    INSERT INTO few_shots VALUES (id('few', 0), '[]');
    INSERT INTO prompts SELECT id('prm', i),
        '[{{"role": "user", "content": "Question ' || i || '"}}]', 'bench', 'bench', i, now()
        FROM numbers;
    INSERT INTO completions BY NAME
        SELECT id('cmp', step || i) AS completion_id, 0 AS cut_at, id('mdl', 0) AS model_id,
            id('prm', i) AS prompt_id,
            CASE WHEN step <> 'draft' THEN id('prn', p) END AS principle_id,
            CASE WHEN step <> 'draft' THEN id('few', 0) END AS few_shot_id, 'run_bench' AS run_id,
            step, CASE WHEN step <> 'draft' THEN 0 END AS round,
            '[{{"role": "user", "content": "' || words(i, 8) || '"}}]' AS request,
            words(step || i, 4) AS text, 'stop' AS finish_reason, 0.7 AS temperature, 1 AS top_p,
            0 AS sample_index, 90 AS prompt_tokens, 30 AS completion_tokens, 'bench' AS engine,
            'cpu' AS device, 'float32' AS dtype, 32 AS batch_rows, 0 AS duration_s,
            now() AS created_at
        FROM numbers, (VALUES ('draft'), ('critique'), ('revision')) steps(step);
    INSERT INTO revisions BY NAME
        SELECT id('rev', i) AS revision_id, id('prm', i) AS prompt_id, id('prn', p) AS principle_id,
            id('cmp', 'draft' || i) AS response_completion_id, 0 AS response_cut_at,
            id('cmp', 'critique' || i) AS critique_completion_id, 0 AS critique_cut_at,
            id('cmp', 'revision' || i) AS revision_completion_id, 0 AS revision_cut_at,
            id('exm', i) AS example_id, id('par', i) AS pair_id, 'run_bench' AS run_id,
            0 AS round, now() AS created_at FROM numbers;
    INSERT INTO examples BY NAME
        SELECT id('exm', i) AS example_id, id('prm', i) AS prompt_id, 0 AS cut_at,
            id('cmp', 'revision' || i) AS completion_id, id('rev', i) AS revision_id,
            words('revision' || i, 4) AS response, 'revision' AS source, now() AS created_at
        FROM numbers;
    INSERT INTO pairs BY NAME
        SELECT id('par', i) AS pair_id, id('prm', i) AS prompt_id, id('rev', i) AS revision_id,
            id('cmp', 'revision' || i) AS chosen_completion_id, 0 AS chosen_cut_at,
            id('cmp', 'draft' || i) AS rejected_completion_id, 0 AS rejected_cut_at,
            words('revision' || i, 4) AS chosen, words('draft' || i, 4) AS rejected,
            'revision' AS source, 1 AS preference, now() AS created_at FROM numbers;
    INSERT INTO datasets SELECT id('dst', kind), 'run_bench', kind, {prompts}, 0, now()
        FROM (VALUES ('sft'), ('preferences'), ('prompts')) kinds(kind);
    INSERT INTO dataset_rows SELECT id('dst', 'sft'), id('exm', i), false FROM numbers
        UNION ALL SELECT id('dst', 'preferences'), id('par', i), false FROM numbers
        UNION ALL SELECT id('dst', 'prompts'), id('prm', i), false FROM numbers;
    INSERT INTO checkpoints BY NAME
        SELECT id('ckp', stage) AS checkpoint_id, id('mdl', 0) AS base_model_id,
            id('dst', data) AS dataset_id, id('con', 0) AS constitution_id, 'run_bench' AS run_id,
            list_transform(parents, lambda x: id('ckp', x)) AS parent_ids,
            parents AS parent_roles, stage, {components} AS components, 'x' AS path,
            1 AS duration_s, 'cpu' AS device, now() AS created_at
        FROM (VALUES ('sft', 'sft', []), ('reward', 'preferences', []),
            ('dpo', 'preferences', ['sft']), ('ppo', 'prompts', ['sft', 'reward']))
            made(stage, data, parents);
    INSERT INTO refs SELECT 'latest/ppo', id('ckp', 'ppo'), NULL, now();
"""
COMPONENTS = """'{"libraries": {}, "seed": 1, "precision": "nf4", "code": "bench"}'"""


def build(home: Path, prompts: int) -> None:
    sql = BUILD.format(prompts=prompts, principles=PRINCIPLES, components=COMPONENTS)
    home.mkdir(parents=True, exist_ok=True)
    with Ledger(home / "ledger.duckdb").transaction() as con:
        con.execute(sql)


def subjects(home: Path) -> dict[str, str]:
    """What is asked about: a name for the table, and what is typed."""
    found = Ledger(home / "ledger.duckdb").query(
        "SELECT revision_completion_id AS completion, pair_id AS pair FROM revisions"
        " ORDER BY revision_id LIMIT 1 OFFSET 777"
    )[0]
    return {
        "a completion": found["completion"],
        "a pair": found["pair"],
        "a principle": "principle-3",
        "the model": "mdl_",
        "the checkpoint": "latest/ppo",
    }


def seconds(home: Path, command: str, name: str) -> float:
    """The median of some whole processes."""
    env = os.environ | {"SOLON_HOME": str(home), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "flows.commands.cli", command, name]
    taken = []
    for _ in range(RUNS):
        started = time.monotonic()
        subprocess.run(line, env=env, stdout=subprocess.DEVNULL, check=True)
        taken.append(time.monotonic() - started)
    return statistics.median(taken)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=333_334)
    parser.add_argument("--keep", type=Path, help="Build the ledger here, once, and keep it.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.keep or Path(folder)
        if not (home / "ledger.duckdb").exists():
            started = time.monotonic()
            build(home, arguments.prompts)
            print(f"{3 * arguments.prompts} completions: {time.monotonic() - started:.0f} s\n")
        slow = 0
        print("| of | why, s | impact, s |\n|---|---|---|")
        for name, typed in subjects(home).items():
            taken = [seconds(home, command, typed) for command in ("why", "impact")]
            slow += sum(found >= LIMIT_S for found in taken)
            print(f"| {name} | {taken[0]:.2f} | {taken[1]:.2f} |", flush=True)
    if slow:
        print(f"{slow} of them took {LIMIT_S:g} s or more", file=sys.stderr)
    return min(slow, 1)


if __name__ == "__main__":
    sys.exit(main())
