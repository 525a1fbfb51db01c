"""The queries of `snapshots` beside it; their temporary tables end with the connection."""

from __future__ import annotations

# Table, key, better and worse text of each kind of row.
KINDS = {
    "preferences": ("pairs", "pair_id", "chosen", "rejected"),
    "sft": ("examples", "example_id", "response", "NULL"),
    "prompts": ("prompts", "prompt_id", "NULL", "NULL"),
}

# principle_ids: those in force, and those with the same words for critiques and revisions, under
# which rows may be kept.
SIDES = """
    CREATE TEMP TABLE diff_sides AS
    SELECT side, d.dataset_id, d.run_id, (
        SELECT list(p.principle_id) FROM principles p
        JOIN principles q USING (slug, critique, revision)
        WHERE list_contains(k.principle_ids, q.principle_id)) AS principle_ids
    FROM (VALUES ('a', ?), ('b', ?)) s(side, dataset_id)
    JOIN datasets d USING (dataset_id)
    LEFT JOIN runs r ON r.run_id = d.run_id
    LEFT JOIN constitutions k ON k.constitution_id = r.constitution_id"""
ROWS = """
    CREATE TEMP TABLE diff_rows AS
    SELECT s.side, m.row_id, t.prompt_id, m.is_held_out
    FROM diff_sides s JOIN dataset_rows m USING (dataset_id) JOIN {table} t ON t.{key} = m.row_id"""
STATE_NAMES = ("same", "changed", "appeared", "vanished")
STATES = """
    CREATE TEMP TABLE diff_prompts AS
    SELECT prompt_id, CASE WHEN a IS NULL THEN 'appeared' WHEN b IS NULL THEN 'vanished'
                           WHEN a = b THEN 'same' ELSE 'changed' END AS state, moved
    FROM (SELECT prompt_id,
                 list(row_id ORDER BY row_id) FILTER (side = 'a') AS a,
                 list(row_id ORDER BY row_id) FILTER (side = 'b') AS b,
                 bool_or(is_held_out) FILTER (side = 'a')
                 != bool_or(is_held_out) FILTER (side = 'b') AS moved
          FROM diff_rows GROUP BY prompt_id)"""
OWNERS = """
    CREATE TEMP TABLE diff_owners AS
    SELECT d.side, d.row_id, p.slug, v.revision_id, v.round
    FROM diff_rows d JOIN diff_sides s USING (side)
    JOIN (SELECT {key} AS row_id, revision_id FROM revisions
          UNION SELECT {key}, revision_id FROM {table}) m USING (row_id)
    JOIN revisions v USING (revision_id) JOIN principles p USING (principle_id)
    QUALIFY row_number() OVER (
        PARTITION BY d.side, d.row_id
        ORDER BY coalesce(list_contains(s.principle_ids, p.principle_id), false) DESC,
                 v.run_id = s.run_id DESC, v.created_at DESC, v.revision_id) = 1"""
NO_OWNERS = """
    CREATE TEMP TABLE diff_owners (
        side VARCHAR, row_id VARCHAR, slug VARCHAR, revision_id VARCHAR, round INTEGER)"""
TEXTS = """
    CREATE TEMP VIEW diff_texts AS
    SELECT {key} AS row_id, {better}::VARCHAR AS better, {worse}::VARCHAR AS worse FROM {table}"""

COUNTS = """
    SELECT state, count(*) AS n, count(*) FILTER (moved) AS moved
    FROM diff_prompts GROUP BY state"""
FLIPS = """
    SELECT count(DISTINCT a.prompt_id) AS n
    FROM diff_prompts p
    JOIN diff_rows a ON a.prompt_id = p.prompt_id AND a.side = 'a'
    JOIN diff_rows b ON b.prompt_id = p.prompt_id AND b.side = 'b'
    JOIN diff_texts x ON x.row_id = a.row_id JOIN diff_texts y ON y.row_id = b.row_id
    WHERE p.state = 'changed' AND x.better = y.worse AND x.worse = y.better"""

# From which text to which: a pair holds the draft; an SFT example's response is asked for by id,
# and of a completion's rows the one that ended by itself is meant, else the longest.
REWRITES = """
        SELECT s.*, c.text AS before, t.better AS after
        FROM {rows} s JOIN diff_texts t USING (row_id) JOIN revisions v USING (revision_id)
        JOIN (SELECT completion_id,
                     arg_max(text, CASE cut_at WHEN 0 THEN 2147483647 ELSE cut_at END) AS text
              FROM completions WHERE completion_id IN (
                  SELECT response_completion_id FROM revisions
                  WHERE revision_id IN (SELECT revision_id FROM {rows}))
              GROUP BY completion_id) c ON c.completion_id = v.response_completion_id"""
EDITED = {
    "preferences": "SELECT s.*, t.worse AS before, t.better AS after"
    " FROM sampled s JOIN diff_texts t USING (row_id)",
    "sft": REWRITES.format(rows="sampled"),
}
# Revisions without effect. They make no pair: a run that was to leave a principle out notes those
# of the whole too, and then which were left out. They do make SFT examples: those are compared by
# their words much as tasks.hygiene.same does, the first word before the others.
WORD = r"[\p{L}\p{N}_]+"
UNCHANGED = {
    "preferences": """
        SELECT s.side, p.slug, count(*) AS unchanged
        FROM diff_sides s
        JOIN exclusions x ON x.run_id = s.run_id AND x.step = 'pairs' AND x.reason = 'unchanged'
        ANTI JOIN (SELECT run_id, row_id FROM exclusions WHERE reason = 'ablated') o
             ON o.run_id = x.run_id AND o.row_id = x.row_id
        JOIN revisions v ON v.revision_id = x.row_id JOIN principles p USING (principle_id)
        GROUP BY s.side, p.slug""",
    "sft": f"""
        WITH rewrites AS ({REWRITES.format(rows="diff_owners")}),
        alike AS (
            SELECT * FROM rewrites WHERE lower(regexp_extract(before, '{WORD}'))
                                       = lower(regexp_extract(after, '{WORD}')))
        SELECT side, slug, count(*) AS unchanged FROM alike
        WHERE regexp_extract_all(lower(before), '{WORD}')
            = regexp_extract_all(lower(after), '{WORD}')
        GROUP BY side, slug""",
}
# A row a side and principle, the columns those of report.Use. An unchanged revision makes no pair,
# but it does make an SFT example. The samples share the cells that may be computed.
USES = """
    WITH words AS (
        SELECT row_id, length(better) AS characters,
               len(list_filter(string_split(translate(better, chr(10) || chr(9), '  '), ' '),
                               lambda word: word != '')) AS words
        FROM diff_texts WHERE row_id IN (SELECT row_id FROM diff_owners)),
    lengths AS (
        SELECT side, slug, count(*) AS rows, avg(words) AS words, avg(characters) AS characters
        FROM diff_owners JOIN words USING (row_id) GROUP BY side, slug),
    unchanged AS ({unchanged}),
    sampled AS (
        SELECT *, row_number() OVER (PARTITION BY side, slug ORDER BY row_id) AS place
        FROM diff_owners QUALIFY place <= ?),
    edited AS ({edited}),
    afforded AS (
        SELECT *, sum(strlen(before) * strlen(after))
                  OVER (PARTITION BY side, slug ORDER BY place) AS cells
        FROM edited QUALIFY cells <= ? // (SELECT greatest(count(*), 1) FROM lengths)),
    edits AS (
        SELECT side, slug, count(*) AS sampled,
               avg(levenshtein(before, after) / greatest(strlen(before), strlen(after), 1))
                   AS edit_distance
        FROM afforded GROUP BY side, slug),
    counts AS (
        SELECT side, slug, coalesce(rows, 0) AS rows, coalesce(unchanged, 0) AS unchanged,
               words, characters
        FROM lengths FULL JOIN unchanged USING (side, slug))
    SELECT side, slug, rows, unchanged, unchanged / ({tried}) AS no_change_rate, edit_distance,
           coalesce(sampled, 0) AS sampled, words, characters
    FROM counts LEFT JOIN edits USING (side, slug) ORDER BY slug, side"""
TRIED = {"preferences": "rows + unchanged", "sft": "rows"}

CHANGED = """
    CREATE TEMP TABLE diff_changed AS
    WITH numbered AS (
        SELECT d.*, o.slug, row_number() OVER (
                   PARTITION BY d.side, d.prompt_id ORDER BY o.round, d.row_id) AS place
        FROM diff_rows d JOIN diff_prompts p USING (prompt_id)
        LEFT JOIN diff_owners o ON o.side = d.side AND o.row_id = d.row_id
        WHERE p.state = 'changed'
          AND d.row_id IN (SELECT row_id FROM diff_rows GROUP BY row_id HAVING count(*) = 1))
    SELECT coalesce(a.prompt_id, b.prompt_id) AS prompt_id, a.row_id AS a_row,
           b.row_id AS b_row, a.slug AS a_slug, b.slug AS b_slug
    FROM (SELECT * FROM numbered WHERE side = 'a') a
    FULL JOIN (SELECT * FROM numbered WHERE side = 'b') b
         ON a.prompt_id = b.prompt_id AND a.place = b.place"""
# How many different words only one of two texts has.
WORDS_APART = """
    CASE WHEN {x} IS NOT DISTINCT FROM {y} THEN 0 ELSE
        coalesce(list_unique(string_split({x}, ' ')), 0)
        + coalesce(list_unique(string_split({y}, ' ')), 0)
        - 2 * coalesce(len(list_intersect(string_split({x}, ' '), string_split({y}, ' '))), 0)
    END"""
SHOWN = f"""
    WITH ranked AS (
        SELECT * FROM diff_changed ORDER BY prompt_id, a_row, b_row LIMIT ?)
    SELECT c.*, m.messages->-1->>'content' AS prompt, x.better AS a_better, x.worse AS a_worse,
           y.better AS b_better, y.worse AS b_worse
    FROM ranked c LEFT JOIN prompts m USING (prompt_id)
    LEFT JOIN diff_texts x ON x.row_id = a_row LEFT JOIN diff_texts y ON y.row_id = b_row
    ORDER BY {WORDS_APART.format(x="x.better", y="y.better")}
             + {WORDS_APART.format(x="x.worse", y="y.worse")} DESC, prompt_id, a_row, b_row
    LIMIT ?"""
