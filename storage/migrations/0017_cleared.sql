-- What was cleared away, as far as rows that are kept were told apart from it.

CREATE TABLE cleared_completions (
    completion_id VARCHAR NOT NULL,
    cut_at INTEGER NOT NULL,
    model_id VARCHAR NOT NULL,
    prompt_id VARCHAR NOT NULL,
    principle_id VARCHAR,
    few_shot_id VARCHAR,
    run_id VARCHAR NOT NULL,
    step VARCHAR NOT NULL,
    round INTEGER,
    request JSON NOT NULL,
    text VARCHAR NOT NULL,
    finish_reason VARCHAR NOT NULL,
    temperature DOUBLE NOT NULL,
    top_p DOUBLE NOT NULL,
    sample_index INTEGER NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (completion_id, cut_at, created_at)
);
COMMENT ON TABLE cleared_completions IS 'One row per completion that was cleared away and that a kept one, or one above it, took the place of: what its story is told by. No call is served from here.';
COMMENT ON COLUMN cleared_completions.completion_id IS 'As in completions, like every column.';
COMMENT ON COLUMN cleared_completions.cut_at IS 'Where it was cut.';
COMMENT ON COLUMN cleared_completions.model_id IS 'The model that answered; its own row may be gone.';
COMMENT ON COLUMN cleared_completions.prompt_id IS 'The prompt.';
COMMENT ON COLUMN cleared_completions.principle_id IS 'The principle version that first asked for it.';
COMMENT ON COLUMN cleared_completions.few_shot_id IS 'The shared examples before the request.';
COMMENT ON COLUMN cleared_completions.run_id IS 'The run that paid for it.';
COMMENT ON COLUMN cleared_completions.step IS 'What it was asked for.';
COMMENT ON COLUMN cleared_completions.round IS '0-based critique/revision round.';
COMMENT ON COLUMN cleared_completions.request IS 'The chat messages after the shared examples.';
COMMENT ON COLUMN cleared_completions.text IS 'What the model wrote.';
COMMENT ON COLUMN cleared_completions.finish_reason IS 'stop, length or too_long.';
COMMENT ON COLUMN cleared_completions.temperature IS 'Sampling temperature.';
COMMENT ON COLUMN cleared_completions.top_p IS 'Nucleus in (0, 1].';
COMMENT ON COLUMN cleared_completions.sample_index IS '0-based index among samples of the same request.';
COMMENT ON COLUMN cleared_completions.created_at IS 'Committed, UTC.';

CREATE TABLE cleared_revisions (
    revision_id VARCHAR PRIMARY KEY,
    prompt_id VARCHAR NOT NULL,
    principle_id VARCHAR NOT NULL,
    response_completion_id VARCHAR NOT NULL,
    critique_completion_id VARCHAR NOT NULL,
    revision_completion_id VARCHAR NOT NULL,
    example_id VARCHAR,
    pair_id VARCHAR,
    run_id VARCHAR NOT NULL,
    round INTEGER NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE cleared_revisions IS 'One row per critique and revision that was cleared away, of completions of which a story is still told.';
COMMENT ON COLUMN cleared_revisions.revision_id IS 'As in revisions, like every column.';
COMMENT ON COLUMN cleared_revisions.prompt_id IS 'The prompt.';
COMMENT ON COLUMN cleared_revisions.principle_id IS 'The principle version it was made under.';
COMMENT ON COLUMN cleared_revisions.response_completion_id IS 'What was criticised.';
COMMENT ON COLUMN cleared_revisions.critique_completion_id IS 'What was said is wrong with it.';
COMMENT ON COLUMN cleared_revisions.revision_completion_id IS 'The rewrite.';
COMMENT ON COLUMN cleared_revisions.example_id IS 'The SFT example it gave; its own row may be gone.';
COMMENT ON COLUMN cleared_revisions.pair_id IS 'The pair it gave; its own row may be gone.';
COMMENT ON COLUMN cleared_revisions.run_id IS 'The run that first assembled it.';
COMMENT ON COLUMN cleared_revisions.round IS '0-based.';
COMMENT ON COLUMN cleared_revisions.created_at IS 'UTC.';

COMMENT ON TABLE completions IS 'One row per model call, kept until solon gc finds no need of it: the memo from which every later run is served.';
COMMENT ON TABLE scores IS 'One row per number that a model gave a completion''s text, kept as long as the completion is.';
COMMENT ON TABLE task_requests IS 'One row per question of a standard task that a model was asked, kept as long as the model is; what it says is here and not in completions or scores, as no prompt of ours was asked.';
