-- What made a row is written with it: its first revision, the labels it was made with, and where each
-- text was cut.

ALTER TABLE revisions ADD COLUMN response_cut_at INTEGER;
ALTER TABLE revisions ADD COLUMN critique_cut_at INTEGER;
ALTER TABLE revisions ADD COLUMN revision_cut_at INTEGER;
ALTER TABLE cleared_revisions ADD COLUMN response_cut_at INTEGER;
ALTER TABLE cleared_revisions ADD COLUMN critique_cut_at INTEGER;
ALTER TABLE cleared_revisions ADD COLUMN revision_cut_at INTEGER;
ALTER TABLE pairs ADD COLUMN chosen_cut_at INTEGER;
ALTER TABLE pairs ADD COLUMN rejected_cut_at INTEGER;
ALTER TABLE examples ADD COLUMN cut_at INTEGER;
ALTER TABLE examples ADD COLUMN revision_id VARCHAR;
ALTER TABLE labels ADD COLUMN is_later BOOLEAN;
COMMENT ON COLUMN labels.is_later IS 'Whether it was given on a pair that was there: it had no part in making it, nor what was trained on it; null before this was kept.';
COMMENT ON COLUMN revisions.response_cut_at IS 'Which of its texts, as in completions; null before this was kept.';
COMMENT ON COLUMN revisions.critique_cut_at IS 'Which of its texts, as in completions; null before this was kept.';
COMMENT ON COLUMN revisions.revision_cut_at IS 'Which of its texts, as in completions; null before this was kept.';
COMMENT ON COLUMN revisions.example_id IS 'The SFT example it gave, also where another gave it first; null where it was excluded.';
COMMENT ON COLUMN revisions.pair_id IS 'The pair it gave as final round, also where another gave it first; null for earlier rounds or where excluded.';
COMMENT ON COLUMN cleared_revisions.response_cut_at IS 'Which of its texts, as in completions.';
COMMENT ON COLUMN cleared_revisions.critique_cut_at IS 'Which of its texts, as in completions.';
COMMENT ON COLUMN cleared_revisions.revision_cut_at IS 'Which of its texts, as in completions.';
COMMENT ON COLUMN pairs.chosen_cut_at IS 'Which of its texts, as in completions; null where it is no completion''s, and before this was kept.';
COMMENT ON COLUMN pairs.rejected_cut_at IS 'Which of its texts, as in completions; null where it is no completion''s, and before this was kept.';
COMMENT ON COLUMN pairs.revision_id IS 'The revision that made it first and is one of its sides, or that a reviewer edited; null for other sources.';
COMMENT ON COLUMN examples.cut_at IS 'Which of its texts, as in completions; null where it is no completion''s, and before this was kept.';
COMMENT ON COLUMN examples.revision_id IS 'The revision that made it first; null for other sources.';
COMMENT ON COLUMN prompts.category IS 'The category its file gave when a run read it the last time.';
COMMENT ON COLUMN prompts.source IS 'The name of the file or set it was read from the last time.';

UPDATE pairs SET revision_id = made.revision_id FROM (
    SELECT pair_id, arg_min(revision_id, (created_at, round)) AS revision_id
    FROM revisions WHERE pair_id IS NOT NULL GROUP BY pair_id) AS made
WHERE pairs.pair_id = made.pair_id AND pairs.revision_id IS NULL AND pairs.source = 'revision';
UPDATE examples SET revision_id = made.revision_id FROM (
    SELECT example_id, arg_min(revision_id, (created_at, round)) AS revision_id
    FROM revisions WHERE example_id IS NOT NULL GROUP BY example_id) AS made
WHERE examples.example_id = made.example_id AND examples.source = 'revision';

CREATE OR REPLACE VIEW lineage_edges AS
    SELECT completion_id AS child_id, model_id AS parent_id, 'model' AS role FROM completions
    UNION ALL SELECT completion_id, prompt_id, 'prompt' FROM completions
    UNION ALL SELECT completion_id, few_shot_id, 'examples' FROM completions
        WHERE few_shot_id IS NOT NULL
    UNION ALL SELECT completion_id, principle_id, 'principle' FROM completions
        WHERE step IN ('critique', 'revision') AND principle_id IS NOT NULL
    UNION ALL SELECT critique_completion_id, response_completion_id, 'response' FROM revisions
    UNION ALL SELECT revision_completion_id, critique_completion_id, 'critique' FROM revisions
    UNION ALL SELECT revision_completion_id, response_completion_id, 'response' FROM revisions
    UNION ALL SELECT revision_id, revision_completion_id, 'completion' FROM revisions
    UNION ALL SELECT example_id, revision_id, 'revision' FROM examples
        WHERE revision_id IS NOT NULL
    UNION ALL SELECT pair_id, revision_id, 'revision' FROM pairs WHERE revision_id IS NOT NULL
    UNION ALL SELECT example_id, prompt_id, 'prompt' FROM examples
    UNION ALL SELECT pair_id, prompt_id, 'prompt' FROM pairs
    UNION ALL SELECT example_id, completion_id, 'completion' FROM examples
        WHERE source <> 'revision' AND completion_id IS NOT NULL
    UNION ALL SELECT pair_id, chosen_completion_id, 'chosen' FROM pairs
        WHERE source <> 'revision' AND chosen_completion_id IS NOT NULL
    UNION ALL SELECT pair_id, rejected_completion_id, 'rejected' FROM pairs
        WHERE rejected_completion_id IS NOT NULL
    UNION ALL SELECT pair_id, principle_id, 'label' FROM labels
        WHERE principle_id IS NOT NULL AND NOT coalesce(is_later, false)
    UNION ALL SELECT few_shot_id, principle_id, 'shown' FROM shown_principles
    UNION ALL SELECT row_id, set_id, 'set' FROM set_rows
    UNION ALL SELECT prompt_id, completion_id, 'written' FROM made_prompts
    UNION ALL SELECT completion_id, prompt_id, 'seed' FROM seeds
    UNION ALL SELECT dataset_id, row_id, 'row' FROM dataset_rows
    UNION ALL SELECT model_id, base_model_id, 'base' FROM models WHERE base_model_id IS NOT NULL
    UNION ALL SELECT model_id, checkpoint_id, 'checkpoint' FROM models WHERE checkpoint_id IS NOT NULL
    UNION ALL SELECT checkpoint_id, dataset_id, 'dataset' FROM checkpoints
    UNION ALL SELECT checkpoint_id, base_model_id, 'base' FROM checkpoints
    UNION ALL SELECT checkpoint_id, constitution_id, 'constitution' FROM checkpoints
        WHERE constitution_id IS NOT NULL
    UNION ALL SELECT checkpoint_id, unnest(parent_ids), unnest(parent_roles) FROM checkpoints
    UNION ALL SELECT evaluation_id, completion_id, 'answer' FROM answers
    UNION ALL SELECT pair_id, comparison_id, 'label' FROM labels
        WHERE comparison_id IS NOT NULL AND NOT coalesce(is_later, false)
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
