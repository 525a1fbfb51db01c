-- Prompts that a model wrote, and the prompts it was shown.

CREATE TABLE made_prompts (
    prompt_id VARCHAR NOT NULL,
    completion_id VARCHAR NOT NULL,
    PRIMARY KEY (prompt_id, completion_id)
);
COMMENT ON TABLE made_prompts IS 'One row per prompt that a model wrote and the call in which it did.';
COMMENT ON COLUMN made_prompts.prompt_id IS 'The prompt.';
COMMENT ON COLUMN made_prompts.completion_id IS 'The completion in which it stands.';

CREATE TABLE seeds (
    completion_id VARCHAR NOT NULL,
    prompt_id VARCHAR NOT NULL,
    PRIMARY KEY (completion_id, prompt_id)
);
COMMENT ON TABLE seeds IS 'One row per prompt that was shown in a call for more prompts.';
COMMENT ON COLUMN seeds.completion_id IS 'The call.';
COMMENT ON COLUMN seeds.prompt_id IS 'The prompt that was shown.';
COMMENT ON COLUMN completions.step IS 'draft, critique, revision, teacher or sample (answers to choose among), prompts (a call for more of them; its prompt is the first that it shows), answer to a held-out prompt or to a question of a probe, or judgement: a judge''s reasoning.';

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
