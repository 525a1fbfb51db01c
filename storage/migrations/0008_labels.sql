-- What says that a pair's chosen response is the better one; what a teacher was shown.

CREATE TABLE labels (
    label_id VARCHAR PRIMARY KEY,
    pair_id VARCHAR NOT NULL,
    principle_id VARCHAR,
    comparison_id VARCHAR,
    run_id VARCHAR NOT NULL,
    given_by VARCHAR NOT NULL,
    rule JSON,
    preference DOUBLE NOT NULL,
    is_turned BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE labels IS 'One row per verdict on a pair. A pair without any was made on its source''s presumption alone.';
COMMENT ON COLUMN labels.label_id IS 'Hash of pair, who gave it, principle, rule and comparison.';
COMMENT ON COLUMN labels.pair_id IS 'The pair.';
COMMENT ON COLUMN labels.principle_id IS 'The principle it is about; null for a person''s verdict on the whole.';
COMMENT ON COLUMN labels.comparison_id IS 'The judge''s comparison; null for programs and people.';
COMMENT ON COLUMN labels.run_id IS 'The run that first gave it.';
COMMENT ON COLUMN labels.given_by IS 'program, judge or people.';
COMMENT ON COLUMN labels.rule IS 'The check a program held the responses to: its name and parameter.';
COMMENT ON COLUMN labels.preference IS 'Probability in [0, 1] that the chosen response is the better one; 1 from a program.';
COMMENT ON COLUMN labels.is_turned IS 'Whether it speaks against what the source presumes: the pair was turned round.';
COMMENT ON COLUMN labels.created_at IS 'UTC.';

CREATE TABLE shown_principles (
    few_shot_id VARCHAR NOT NULL,
    principle_id VARCHAR NOT NULL,
    PRIMARY KEY (few_shot_id, principle_id)
);
COMMENT ON TABLE shown_principles IS 'One row per principle that a teacher''s prefix shows.';
COMMENT ON COLUMN shown_principles.few_shot_id IS 'The prefix: rules, and answers that keep them.';
COMMENT ON COLUMN shown_principles.principle_id IS 'The principle.';

COMMENT ON COLUMN completions.step IS 'draft, critique, revision, teacher or sample (answers to choose among), or answer to a held-out prompt.';
COMMENT ON COLUMN completions.principle_id IS 'The principle version that first asked for it; of a teacher, the first it was shown; null for others.';
COMMENT ON COLUMN examples.source IS 'revision or distilled.';
COMMENT ON COLUMN pairs.source IS 'revision, distilled or candidates: where both responses come from.';

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
    UNION ALL SELECT pair_id, revision_id, 'revision' FROM revisions WHERE pair_id IS NOT NULL
    UNION ALL SELECT example_id, completion_id, 'completion' FROM examples WHERE source <> 'revision'
    UNION ALL SELECT pair_id, chosen_completion_id, 'chosen' FROM pairs WHERE source <> 'revision'
    UNION ALL SELECT pair_id, rejected_completion_id, 'rejected' FROM pairs
    UNION ALL SELECT pair_id, principle_id, 'label' FROM labels WHERE principle_id IS NOT NULL
    UNION ALL SELECT few_shot_id, principle_id, 'shown' FROM shown_principles
    UNION ALL SELECT dataset_id, row_id, 'row' FROM dataset_rows
    UNION ALL SELECT model_id, base_model_id, 'base' FROM models WHERE base_model_id IS NOT NULL
    UNION ALL SELECT model_id, checkpoint_id, 'checkpoint' FROM models WHERE checkpoint_id IS NOT NULL
    UNION ALL SELECT checkpoint_id, dataset_id, 'dataset' FROM checkpoints
    UNION ALL SELECT checkpoint_id, base_model_id, 'base' FROM checkpoints
    UNION ALL SELECT checkpoint_id, constitution_id, 'constitution' FROM checkpoints
        WHERE constitution_id IS NOT NULL
    UNION ALL SELECT checkpoint_id, unnest(parent_ids), unnest(parent_roles) FROM checkpoints
    UNION ALL SELECT evaluation_id, completion_id, 'answer' FROM answers;
COMMENT ON VIEW lineage_edges IS 'One row per edge of the lineage: child_id was made from parent_id, which was its role.';
