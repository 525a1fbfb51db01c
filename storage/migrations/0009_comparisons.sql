-- What a judge says: both orders of a comparison, and what it wrote. No comparison was kept before.

DROP TABLE comparisons;
CREATE TABLE comparisons (
    comparison_id VARCHAR PRIMARY KEY,
    prompt_id VARCHAR NOT NULL,
    principle_id VARCHAR NOT NULL,
    model_id VARCHAR NOT NULL,
    few_shot_id VARCHAR,
    run_id VARCHAR NOT NULL,
    first_completion_id VARCHAR,
    first_cut_at INTEGER NOT NULL,
    second_completion_id VARCHAR,
    second_cut_at INTEGER NOT NULL,
    method VARCHAR NOT NULL,
    forward DOUBLE,
    backward DOUBLE,
    preference DOUBLE,
    forward_reasoning_id VARCHAR,
    forward_reasoning_cut_at INTEGER,
    backward_reasoning_id VARCHAR,
    backward_reasoning_cut_at INTEGER,
    forward_verdicts VARCHAR[] NOT NULL,
    backward_verdicts VARCHAR[] NOT NULL,
    unparsed INTEGER NOT NULL,
    engine VARCHAR NOT NULL,
    device VARCHAR NOT NULL,
    dtype VARCHAR NOT NULL,
    duration_s DOUBLE NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE comparisons IS 'One row per pair of responses judged by one principle''s question, in both orders. Clamping, abstention and averages over principles are no part of it: they cost no call.';
COMMENT ON COLUMN comparisons.comparison_id IS 'Hash of the judge, its worked comparisons, the requests in both orders and how it was asked.';
COMMENT ON COLUMN comparisons.prompt_id IS 'The prompt.';
COMMENT ON COLUMN comparisons.principle_id IS 'The principle version whose comparison question was asked first.';
COMMENT ON COLUMN comparisons.model_id IS 'The judge.';
COMMENT ON COLUMN comparisons.few_shot_id IS 'The worked comparisons before the requests; null for none.';
COMMENT ON COLUMN comparisons.run_id IS 'The run that asked.';
COMMENT ON COLUMN comparisons.first_completion_id IS 'The response whose text sorts first; null for a text that no model call of ours wrote.';
COMMENT ON COLUMN comparisons.first_cut_at IS 'Which of its texts, as in completions.';
COMMENT ON COLUMN comparisons.second_completion_id IS 'The other response; null for a text that no model call of ours wrote.';
COMMENT ON COLUMN comparisons.second_cut_at IS 'Which of its texts, as in completions.';
COMMENT ON COLUMN comparisons.method IS 'logprobs: of the letters A and B; sampled: the share of sampled letters.';
COMMENT ON COLUMN comparisons.forward IS 'Probability in [0, 1] that the first is better, shown as A; null where it could not be told.';
COMMENT ON COLUMN comparisons.backward IS 'Probability in [0, 1] that the first is better, shown as B; null where it could not be told.';
COMMENT ON COLUMN comparisons.preference IS 'Mean of forward and backward; null where either is.';
COMMENT ON COLUMN comparisons.forward_reasoning_id IS 'The completion in which the judge weighed the two before the forward verdict; null without chain of thought.';
COMMENT ON COLUMN comparisons.forward_reasoning_cut_at IS 'Which of its texts, as in completions.';
COMMENT ON COLUMN comparisons.backward_reasoning_id IS 'The same before the backward verdict.';
COMMENT ON COLUMN comparisons.backward_reasoning_cut_at IS 'Which of its texts, as in completions.';
COMMENT ON COLUMN comparisons.forward_verdicts IS 'What the judge wrote when it was sampled, word for word, the first shown as A.';
COMMENT ON COLUMN comparisons.backward_verdicts IS 'The same, the first shown as B.';
COMMENT ON COLUMN comparisons.unparsed IS 'How many of the sampled verdicts are neither A nor B; they count for nothing.';
COMMENT ON COLUMN comparisons.engine IS 'What ran the model.';
COMMENT ON COLUMN comparisons.device IS 'cpu or a GPU''s name.';
COMMENT ON COLUMN comparisons.dtype IS 'Number format of the weights.';
COMMENT ON COLUMN comparisons.duration_s IS 'Its share of the batches'' seconds, reasoning not counted.';
COMMENT ON COLUMN comparisons.created_at IS 'Committed, UTC.';

ALTER TABLE pairs ALTER COLUMN chosen_completion_id DROP NOT NULL;
ALTER TABLE pairs ALTER COLUMN rejected_completion_id DROP NOT NULL;
ALTER TABLE pairs ADD COLUMN revision_id VARCHAR;
COMMENT ON COLUMN pairs.revision_id IS 'The revision that is one of its sides; null for other sources, and before this was kept, when the revision alone named the pair.';
COMMENT ON COLUMN pairs.source IS 'revision, distilled or candidates: where both responses come from; or people: a pair of theirs.';
COMMENT ON COLUMN pairs.chosen_completion_id IS 'The better response''s completion; null for a text that people brought.';
COMMENT ON COLUMN pairs.rejected_completion_id IS 'The worse response''s completion; null for a text that people brought.';
COMMENT ON COLUMN metrics.subject_id IS 'The checkpoint, evaluation or snapshot; of a judge''s report card, the run.';
COMMENT ON COLUMN completions.step IS 'draft, critique, revision, teacher or sample (answers to choose among), answer to a held-out prompt, or judgement: a judge''s reasoning.';

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
    UNION ALL SELECT example_id, completion_id, 'completion' FROM examples WHERE source <> 'revision'
    UNION ALL SELECT pair_id, chosen_completion_id, 'chosen' FROM pairs
        WHERE source <> 'revision' AND chosen_completion_id IS NOT NULL
    UNION ALL SELECT pair_id, rejected_completion_id, 'rejected' FROM pairs
        WHERE rejected_completion_id IS NOT NULL
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
