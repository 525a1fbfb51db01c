-- What the library of standard tasks asked a model, so that nothing is asked twice.

CREATE TABLE task_requests (
    request_id VARCHAR NOT NULL,
    model_id VARCHAR NOT NULL,
    text VARCHAR,
    finish_reason VARCHAR,
    logprob DOUBLE,
    is_greedy BOOLEAN,
    token_count BIGINT NOT NULL,
    device VARCHAR NOT NULL,
    dtype VARCHAR NOT NULL,
    duration_s DOUBLE NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (request_id, model_id)
);
COMMENT ON TABLE task_requests IS 'One row per question of a standard task that a model was asked, kept for ever; what it says is here and not in completions or scores, as no prompt of ours was asked.';
COMMENT ON COLUMN task_requests.request_id IS 'Hash of what was asked: conversation or raw text before it, and the text that was scored or the way in which one was written.';
COMMENT ON COLUMN task_requests.model_id IS 'The model that was asked.';
COMMENT ON COLUMN task_requests.text IS 'What it wrote; null where a given text was scored.';
COMMENT ON COLUMN task_requests.finish_reason IS 'stop, length or too_long; null where a given text was scored.';
COMMENT ON COLUMN task_requests.logprob IS 'Natural logarithm of the given text''s probability; null where the model wrote.';
COMMENT ON COLUMN task_requests.is_greedy IS 'Whether greedy decoding writes the given text; null where the model wrote.';
COMMENT ON COLUMN task_requests.token_count IS 'Tokens scored or written.';
COMMENT ON COLUMN task_requests.device IS 'cpu or a GPU''s name.';
COMMENT ON COLUMN task_requests.dtype IS 'Number format of the weights.';
COMMENT ON COLUMN task_requests.duration_s IS 'Its equal share of the batch''s seconds.';
COMMENT ON COLUMN task_requests.created_at IS 'Committed, UTC.';
COMMENT ON COLUMN metrics.subject_id IS 'The checkpoint or evaluation; of the base under standard tasks the model.';
COMMENT ON COLUMN metrics.name IS 'What was measured; policy/metric in an evaluation; standard:task/metric of standard tasks.';
