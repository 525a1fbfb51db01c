-- What people bring: sets of pairs and of demonstrations, and exports that are taken back.

CREATE TABLE sets (
    set_id VARCHAR PRIMARY KEY,
    run_id VARCHAR,
    kind VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    digest VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    licence VARCHAR,
    ratio DOUBLE,
    row_count BIGINT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE sets IS 'One row per set that people brought, by the content of its files.';
COMMENT ON COLUMN sets.set_id IS 'Hash of kind and digest.';
COMMENT ON COLUMN sets.run_id IS 'The last run that had it in its recipe; null for an import.';
COMMENT ON COLUMN sets.kind IS 'preferences, demonstrations, or imported: an export of ours that was taken back.';
COMMENT ON COLUMN sets.path IS 'Where it was read from the last time, as it was named.';
COMMENT ON COLUMN sets.digest IS 'Hash of its files.';
COMMENT ON COLUMN sets.source IS 'What it is called: what the recipe says, else its path; of an import the snapshot that its card names.';
COMMENT ON COLUMN sets.licence IS 'The note on its licence that the recipe has; null for none.';
COMMENT ON COLUMN sets.ratio IS 'Its rows at most for every row made here, in a snapshot; null for all.';
COMMENT ON COLUMN sets.row_count IS 'Rows that could be used.';
COMMENT ON COLUMN sets.updated_at IS 'When a run had it, or an import read it, the last time; UTC.';

CREATE TABLE set_rows (
    set_id VARCHAR NOT NULL,
    row_id VARCHAR NOT NULL,
    line BIGINT,
    principle VARCHAR,
    source VARCHAR,
    licence VARCHAR,
    PRIMARY KEY (set_id, row_id)
);
COMMENT ON TABLE set_rows IS 'One row per pair or example that came with a set; of an import those that were not there before.';
COMMENT ON COLUMN set_rows.set_id IS 'The set.';
COMMENT ON COLUMN set_rows.row_id IS 'The pair or example.';
COMMENT ON COLUMN set_rows.line IS 'Its line or row in the file, from 1.';
COMMENT ON COLUMN set_rows.principle IS 'The slug that its row names; null for none.';
COMMENT ON COLUMN set_rows.source IS 'Of an import, the set of people''s that its row names; null for none.';
COMMENT ON COLUMN set_rows.licence IS 'Of an import, the licence that its row names; null for none.';

COMMENT ON COLUMN datasets.run_id IS 'The run that first made it; of an import its set.';
COMMENT ON COLUMN labels.run_id IS 'The run that first gave it; of an import the set that says so.';
COMMENT ON COLUMN pairs.source IS 'revision, distilled or candidates: where both responses come from; people: a pair of theirs, or one with an answer that a reviewer edited; imported: of an export that was taken back.';
COMMENT ON COLUMN examples.source IS 'revision or distilled; people: a demonstration of theirs; imported: of an export that was taken back.';
COMMENT ON COLUMN examples.completion_id IS 'The completion whose text it is; null for a text that people brought.';

CREATE OR REPLACE VIEW lineage_edges AS
    SELECT completion_id AS child_id, model_id AS parent_id, 'model' AS role FROM completions
    UNION ALL SELECT completion_id, prompt_id, 'prompt' FROM completions
    UNION ALL SELECT completion_id, few_shot_id, 'examples' FROM completions
        WHERE few_shot_id IS NOT NULL
    UNION ALL SELECT completion_id, principle_id, 'principle' FROM completions
        WHERE step = 'critique' AND principle_id IS NOT NULL
    UNION ALL SELECT critique_completion_id, response_completion_id, 'response' FROM revisions
    UNION ALL SELECT revision_completion_id, principle_id, 'principle' FROM revisions
    UNION ALL SELECT revision_completion_id, critique_completion_id, 'critique' FROM revisions
    UNION ALL SELECT revision_completion_id, response_completion_id, 'response' FROM revisions
    UNION ALL SELECT revision_id, revision_completion_id, 'completion' FROM revisions
    UNION ALL SELECT example_id, revision_id, 'revision' FROM revisions WHERE example_id IS NOT NULL
    UNION ALL (
        SELECT pair_id, revision_id, 'revision' FROM revisions WHERE pair_id IS NOT NULL
        UNION SELECT pair_id, revision_id, 'revision' FROM pairs WHERE revision_id IS NOT NULL)
    UNION ALL SELECT example_id, completion_id, 'completion' FROM examples
        WHERE source <> 'revision' AND completion_id IS NOT NULL
    UNION ALL SELECT pair_id, chosen_completion_id, 'chosen' FROM pairs
        WHERE source <> 'revision' AND chosen_completion_id IS NOT NULL
    UNION ALL SELECT pair_id, rejected_completion_id, 'rejected' FROM pairs
        WHERE rejected_completion_id IS NOT NULL
    UNION ALL SELECT pair_id, principle_id, 'label' FROM labels WHERE principle_id IS NOT NULL
    UNION ALL SELECT few_shot_id, principle_id, 'shown' FROM shown_principles
    UNION ALL SELECT row_id, set_id, 'set' FROM set_rows
    UNION ALL SELECT dataset_id, row_id, 'row' FROM dataset_rows
    UNION ALL SELECT model_id, base_model_id, 'base' FROM models WHERE base_model_id IS NOT NULL
    UNION ALL SELECT model_id, checkpoint_id, 'checkpoint' FROM models WHERE checkpoint_id IS NOT NULL
    UNION ALL SELECT checkpoint_id, dataset_id, 'dataset' FROM checkpoints
    UNION ALL SELECT checkpoint_id, base_model_id, 'base' FROM checkpoints
    UNION ALL SELECT checkpoint_id, constitution_id, 'constitution' FROM checkpoints
        WHERE constitution_id IS NOT NULL
    UNION ALL SELECT checkpoint_id, unnest(parent_ids), unnest(parent_roles) FROM checkpoints
    UNION ALL SELECT evaluation_id, completion_id, 'answer' FROM answers
    UNION ALL SELECT pair_id, comparison_id, 'label' FROM labels WHERE comparison_id IS NOT NULL
    UNION ALL SELECT comparison_id, model_id, 'judge' FROM comparisons
    UNION ALL SELECT comparison_id, prompt_id, 'prompt' FROM comparisons
    UNION ALL SELECT comparison_id, principle_id, 'principle' FROM comparisons
    UNION ALL SELECT comparison_id, few_shot_id, 'examples' FROM comparisons
        WHERE few_shot_id IS NOT NULL
    UNION ALL SELECT comparison_id, first_completion_id, 'first' FROM comparisons
        WHERE first_completion_id IS NOT NULL
    UNION ALL SELECT comparison_id, second_completion_id, 'second' FROM comparisons
        WHERE second_completion_id IS NOT NULL
    UNION ALL SELECT comparison_id, forward_reasoning_id, 'reasoning' FROM comparisons
        WHERE forward_reasoning_id IS NOT NULL
    UNION ALL SELECT comparison_id, backward_reasoning_id, 'reasoning' FROM comparisons
        WHERE backward_reasoning_id IS NOT NULL;
COMMENT ON VIEW lineage_edges IS 'One row per edge of the lineage: child_id was made from parent_id, which was its role.';
