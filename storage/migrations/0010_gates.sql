-- What every evaluation says of promoting each trained model, and moves of a ref against it.

CREATE TABLE gates (
    evaluation_id VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    checkpoint_id VARCHAR NOT NULL,
    policy VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    rule JSON NOT NULL,
    value DOUBLE,
    low DOUBLE,
    high DOUBLE,
    is_passed BOOLEAN NOT NULL,
    reason VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (evaluation_id, number)
);
COMMENT ON TABLE gates IS 'One row per bound that an evaluation''s figures of a trained model were held against.';
COMMENT ON COLUMN gates.evaluation_id IS 'The evaluation.';
COMMENT ON COLUMN gates.number IS 'Its place among the verdicts of the evaluation, from 0.';
COMMENT ON COLUMN gates.checkpoint_id IS 'The checkpoint that was judged.';
COMMENT ON COLUMN gates.policy IS 'What it is in the evaluation: sft, dpo or ppo.';
COMMENT ON COLUMN gates.metric IS 'What was held against the bound, named as in metrics; weights: whether training changed any; questions: how many were answered.';
COMMENT ON COLUMN gates.rule IS 'The bound, as a recipe has it.';
COMMENT ON COLUMN gates.value IS 'The number held against it: of a comparison the difference or ratio; null where there is none that carries a verdict.';
COMMENT ON COLUMN gates.low IS 'Lower end of its 95 % interval.';
COMMENT ON COLUMN gates.high IS 'Upper end of its 95 % interval.';
COMMENT ON COLUMN gates.is_passed IS 'Whether the bound is kept; a model passes that keeps all.';
COMMENT ON COLUMN gates.reason IS 'The verdict in words and numbers.';
COMMENT ON COLUMN gates.created_at IS 'When it was first said so, UTC.';

ALTER TABLE ref_moves ADD COLUMN is_forced BOOLEAN DEFAULT false;
COMMENT ON COLUMN ref_moves.is_forced IS 'Whether a person moved it to what had not passed its gates.';
