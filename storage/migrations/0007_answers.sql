-- Evaluation's answers are completions like any other, and what a model says of a text is kept too.

CREATE TABLE scores (
    completion_id VARCHAR NOT NULL,
    cut_at INTEGER NOT NULL,
    model_id VARCHAR NOT NULL,
    measure VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    value DOUBLE NOT NULL,
    device VARCHAR NOT NULL,
    dtype VARCHAR NOT NULL,
    duration_s DOUBLE NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (completion_id, cut_at, model_id, measure)
);
COMMENT ON TABLE scores IS 'One row per number that a model gave a completion''s text, kept for ever as the completion is.';
COMMENT ON COLUMN scores.completion_id IS 'The completion.';
COMMENT ON COLUMN scores.cut_at IS 'Which of its texts, as in completions.';
COMMENT ON COLUMN scores.model_id IS 'The model that scored it.';
COMMENT ON COLUMN scores.measure IS 'logprob: natural logarithm of the text''s probability at the completion''s temperature; reward: a reward model''s score.';
COMMENT ON COLUMN scores.run_id IS 'The run that paid for it.';
COMMENT ON COLUMN scores.value IS 'The number.';
COMMENT ON COLUMN scores.device IS 'cpu or a GPU''s name.';
COMMENT ON COLUMN scores.dtype IS 'Number format of the weights.';
COMMENT ON COLUMN scores.duration_s IS 'Its equal share of the batch''s seconds.';
COMMENT ON COLUMN scores.created_at IS 'Committed, UTC.';

CREATE TABLE answers (
    evaluation_id VARCHAR NOT NULL,
    policy VARCHAR NOT NULL,
    completion_id VARCHAR NOT NULL,
    cut_at INTEGER NOT NULL,
    PRIMARY KEY (evaluation_id, policy, completion_id)
);
COMMENT ON TABLE answers IS 'One row per answer that an evaluation is made of.';
COMMENT ON COLUMN answers.evaluation_id IS 'The evaluation.';
COMMENT ON COLUMN answers.policy IS 'Whose answer it is: base, sft, dpo or ppo.';
COMMENT ON COLUMN answers.completion_id IS 'The completion.';
COMMENT ON COLUMN answers.cut_at IS 'Which of its texts, as in completions.';

COMMENT ON COLUMN completions.step IS 'draft, critique, revision, or answer to a held-out prompt.';
COMMENT ON COLUMN models.kind IS 'hub, folder, package, checkpoint, random, scripted, or quantized.';
COMMENT ON COLUMN models.base_model_id IS 'The model under an adapter, or from which a quantized one was made; null for a whole model.';

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
    UNION ALL SELECT pair_id, rejected_completion_id, 'rejected' FROM pairs
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
