-- The ledger's first shape. One row per thing; ids first, then foreign ids, then text, numbers, flags, times.

CREATE TABLE runs (
    run_id VARCHAR PRIMARY KEY,
    constitution_id VARCHAR,
    flow_run_id VARCHAR,
    recipe VARCHAR NOT NULL,
    settings JSON NOT NULL,
    until VARCHAR,
    git_commit VARCHAR,
    host VARCHAR,
    pid INTEGER,
    state VARCHAR NOT NULL,
    message VARCHAR,
    started_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ
);
COMMENT ON TABLE runs IS 'One row per run of a flow: what was asked for, and how it ended.';
COMMENT ON COLUMN runs.run_id IS 'One row per run: its random id.';
COMMENT ON COLUMN runs.constitution_id IS 'The constitution in force.';
COMMENT ON COLUMN runs.flow_run_id IS 'Prefect''s id of the flow run.';
COMMENT ON COLUMN runs.recipe IS 'The recipe''s name.';
COMMENT ON COLUMN runs.settings IS 'The whole recipe, overrides applied.';
COMMENT ON COLUMN runs.until IS 'The step after which the run was asked to stop; null for all.';
COMMENT ON COLUMN runs.git_commit IS 'The commit of the code, with -dirty where the tree had changes; null outside a checkout.';
COMMENT ON COLUMN runs.host IS 'The machine''s name.';
COMMENT ON COLUMN runs.pid IS 'The flow''s process id on that machine.';
COMMENT ON COLUMN runs.state IS 'running, completed or failed. A killed run stays running until the next one sees that its process is gone.';
COMMENT ON COLUMN runs.message IS 'Why it failed, one line.';
COMMENT ON COLUMN runs.started_at IS 'UTC.';
COMMENT ON COLUMN runs.ended_at IS 'UTC; null while running.';

CREATE TABLE constitutions (
    constitution_id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    version VARCHAR,
    path VARCHAR,
    principle_ids VARCHAR[] NOT NULL,
    body JSON NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE constitutions IS 'One row per version of a constitution: its whole content.';
COMMENT ON COLUMN constitutions.constitution_id IS 'Hash of body.';
COMMENT ON COLUMN constitutions.name IS 'The name its file gives it.';
COMMENT ON COLUMN constitutions.version IS 'The version note its file gives it.';
COMMENT ON COLUMN constitutions.path IS 'The file''s name when it was first read.';
COMMENT ON COLUMN constitutions.principle_ids IS 'Its principles, in order.';
COMMENT ON COLUMN constitutions.body IS 'Every field of every principle and example.';
COMMENT ON COLUMN constitutions.created_at IS 'First seen, UTC.';

CREATE TABLE principles (
    principle_id VARCHAR PRIMARY KEY,
    slug VARCHAR NOT NULL,
    title VARCHAR,
    critique VARCHAR NOT NULL,
    revision VARCHAR NOT NULL,
    comparison VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE principles IS 'One row per version of a principle''s words.';
COMMENT ON COLUMN principles.principle_id IS 'Hash of slug, critique, revision and comparison: a title, weight or place in the order makes no new version.';
COMMENT ON COLUMN principles.slug IS 'Its name across versions.';
COMMENT ON COLUMN principles.title IS 'Its title when first seen.';
COMMENT ON COLUMN principles.critique IS 'The critique request.';
COMMENT ON COLUMN principles.revision IS 'The revision request.';
COMMENT ON COLUMN principles.comparison IS 'The question a judge answers about two responses.';
COMMENT ON COLUMN principles.created_at IS 'First seen, UTC.';

CREATE TABLE models (
    model_id VARCHAR PRIMARY KEY,
    base_model_id VARCHAR,
    checkpoint_id VARCHAR,
    kind VARCHAR NOT NULL,
    reference VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE models IS 'One row per model by the content of its weights.';
COMMENT ON COLUMN models.model_id IS 'Digest of weight files and tokenizer; of an adapter with its base.';
COMMENT ON COLUMN models.base_model_id IS 'The model under an adapter; null for a whole model.';
COMMENT ON COLUMN models.checkpoint_id IS 'The checkpoint an adapter came from.';
COMMENT ON COLUMN models.kind IS 'hub, folder, package, checkpoint or random.';
COMMENT ON COLUMN models.reference IS 'The reference by which it was first named.';
COMMENT ON COLUMN models.created_at IS 'First seen, UTC.';

CREATE TABLE prompts (
    prompt_id VARCHAR PRIMARY KEY,
    messages JSON NOT NULL,
    category VARCHAR,
    source VARCHAR,
    source_line BIGINT,
    created_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE prompts IS 'One row per prompt: a conversation that ends with a user turn.';
COMMENT ON COLUMN prompts.prompt_id IS 'Hash of messages.';
COMMENT ON COLUMN prompts.messages IS 'Chat messages, roles and contents, in order.';
COMMENT ON COLUMN prompts.category IS 'The category its file gave when first seen.';
COMMENT ON COLUMN prompts.source IS 'The name of the file or set it was first read from.';
COMMENT ON COLUMN prompts.source_line IS 'The line or row there, from 1.';
COMMENT ON COLUMN prompts.created_at IS 'First seen, UTC.';

CREATE TABLE few_shots (
    few_shot_id VARCHAR PRIMARY KEY,
    messages JSON NOT NULL
);
COMMENT ON TABLE few_shots IS 'One row per few-shot prefix that requests share.';
COMMENT ON COLUMN few_shots.few_shot_id IS 'Hash of messages.';
COMMENT ON COLUMN few_shots.messages IS 'The worked examples as chat messages.';

CREATE TABLE completions (
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
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    engine VARCHAR NOT NULL,
    device VARCHAR NOT NULL,
    dtype VARCHAR NOT NULL,
    batch_rows INTEGER NOT NULL,
    duration_s DOUBLE NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (completion_id, cut_at)
);
COMMENT ON TABLE completions IS 'One row per model call, kept for ever: the memo from which every later run is served.';
COMMENT ON COLUMN completions.completion_id IS 'Hash of model_id, the messages, temperature, top_p, stop strings and sample_index.';
COMMENT ON COLUMN completions.cut_at IS '0 where the text ended by itself; the limit in tokens where it was cut; -1 where the prompt was too long to try.';
COMMENT ON COLUMN completions.model_id IS 'The model that answered.';
COMMENT ON COLUMN completions.prompt_id IS 'The prompt it belongs to.';
COMMENT ON COLUMN completions.principle_id IS 'The principle version that first asked for it; null for drafts.';
COMMENT ON COLUMN completions.few_shot_id IS 'The shared examples before the request; null for none.';
COMMENT ON COLUMN completions.run_id IS 'The run that paid for it.';
COMMENT ON COLUMN completions.step IS 'draft, critique or revision.';
COMMENT ON COLUMN completions.round IS '0-based critique/revision round; null for drafts.';
COMMENT ON COLUMN completions.request IS 'The chat messages after the shared examples.';
COMMENT ON COLUMN completions.text IS 'What the model wrote.';
COMMENT ON COLUMN completions.finish_reason IS 'stop, length or too_long.';
COMMENT ON COLUMN completions.temperature IS 'Sampling temperature; 0 is greedy.';
COMMENT ON COLUMN completions.top_p IS 'Nucleus in (0, 1].';
COMMENT ON COLUMN completions.sample_index IS '0-based index among samples of the same request.';
COMMENT ON COLUMN completions.prompt_tokens IS 'Tokens in, shared examples included.';
COMMENT ON COLUMN completions.completion_tokens IS 'Tokens out.';
COMMENT ON COLUMN completions.engine IS 'What ran the model.';
COMMENT ON COLUMN completions.device IS 'cpu or a GPU''s name.';
COMMENT ON COLUMN completions.dtype IS 'Number format of the weights.';
COMMENT ON COLUMN completions.batch_rows IS 'Rows in the batch it was part of.';
COMMENT ON COLUMN completions.duration_s IS 'Its equal share of the batch''s seconds.';
COMMENT ON COLUMN completions.created_at IS 'Committed, UTC.';

CREATE TABLE revisions (
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
COMMENT ON TABLE revisions IS 'One row per critique and revision of one response under one principle.';
COMMENT ON COLUMN revisions.revision_id IS 'Hash of prompt, round, principle, the three completions and their texts.';
COMMENT ON COLUMN revisions.prompt_id IS 'The prompt.';
COMMENT ON COLUMN revisions.principle_id IS 'The principle version it was made under.';
COMMENT ON COLUMN revisions.response_completion_id IS 'What was criticised: the draft, or the round before''s revision.';
COMMENT ON COLUMN revisions.critique_completion_id IS 'What was said is wrong with it.';
COMMENT ON COLUMN revisions.revision_completion_id IS 'The rewrite.';
COMMENT ON COLUMN revisions.example_id IS 'The SFT example it gave; null where it was excluded.';
COMMENT ON COLUMN revisions.pair_id IS 'The pair it gave as final round; null for earlier rounds or where excluded.';
COMMENT ON COLUMN revisions.run_id IS 'The run that first assembled it.';
COMMENT ON COLUMN revisions.round IS '0-based.';
COMMENT ON COLUMN revisions.created_at IS 'UTC.';

CREATE TABLE examples (
    example_id VARCHAR PRIMARY KEY,
    prompt_id VARCHAR NOT NULL,
    completion_id VARCHAR,
    response VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE examples IS 'One row per SFT example: a prompt and the response to learn.';
COMMENT ON COLUMN examples.example_id IS 'Hash of prompt_id and response.';
COMMENT ON COLUMN examples.prompt_id IS 'The prompt.';
COMMENT ON COLUMN examples.completion_id IS 'The completion whose text it is.';
COMMENT ON COLUMN examples.response IS 'The response, as trained on.';
COMMENT ON COLUMN examples.source IS 'revision.';
COMMENT ON COLUMN examples.created_at IS 'UTC.';

CREATE TABLE comparisons (
    comparison_id VARCHAR PRIMARY KEY,
    prompt_id VARCHAR NOT NULL,
    principle_id VARCHAR NOT NULL,
    model_id VARCHAR NOT NULL,
    first_completion_id VARCHAR NOT NULL,
    second_completion_id VARCHAR NOT NULL,
    preference DOUBLE NOT NULL,
    run_id VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE comparisons IS 'One row per judged pair of responses under one principle.';
COMMENT ON COLUMN comparisons.comparison_id IS 'Hash of judge, principle and the two texts.';
COMMENT ON COLUMN comparisons.prompt_id IS 'The prompt.';
COMMENT ON COLUMN comparisons.principle_id IS 'The principle whose comparison question was asked.';
COMMENT ON COLUMN comparisons.model_id IS 'The judge.';
COMMENT ON COLUMN comparisons.first_completion_id IS 'The response shown first.';
COMMENT ON COLUMN comparisons.second_completion_id IS 'The response shown second.';
COMMENT ON COLUMN comparisons.preference IS 'Probability in [0, 1] that the first is better.';
COMMENT ON COLUMN comparisons.run_id IS 'The run that asked.';
COMMENT ON COLUMN comparisons.created_at IS 'UTC.';

CREATE TABLE verdicts (
    verdict_id VARCHAR PRIMARY KEY,
    prompt_id VARCHAR NOT NULL,
    first_text_id VARCHAR NOT NULL,
    second_text_id VARCHAR NOT NULL,
    preference DOUBLE NOT NULL,
    author VARCHAR NOT NULL,
    note VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE verdicts IS 'One row per human verdict on two texts; keyed by content, so it outlives regeneration.';
COMMENT ON COLUMN verdicts.verdict_id IS 'Hash of prompt, both texts and author.';
COMMENT ON COLUMN verdicts.prompt_id IS 'The prompt.';
COMMENT ON COLUMN verdicts.first_text_id IS 'Digest of the first text.';
COMMENT ON COLUMN verdicts.second_text_id IS 'Digest of the second text.';
COMMENT ON COLUMN verdicts.preference IS '1 where the first is better, 0 where the second is, 0.5 for a tie.';
COMMENT ON COLUMN verdicts.author IS 'Who said so.';
COMMENT ON COLUMN verdicts.note IS 'In their words.';
COMMENT ON COLUMN verdicts.created_at IS 'UTC.';

CREATE TABLE pairs (
    pair_id VARCHAR PRIMARY KEY,
    prompt_id VARCHAR NOT NULL,
    chosen_completion_id VARCHAR NOT NULL,
    rejected_completion_id VARCHAR NOT NULL,
    chosen VARCHAR NOT NULL,
    rejected VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    preference DOUBLE NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE pairs IS 'One row per preference pair: a better and a worse response to one prompt.';
COMMENT ON COLUMN pairs.pair_id IS 'Hash of prompt_id, chosen, rejected and preference.';
COMMENT ON COLUMN pairs.prompt_id IS 'The prompt.';
COMMENT ON COLUMN pairs.chosen_completion_id IS 'The completion whose text is chosen.';
COMMENT ON COLUMN pairs.rejected_completion_id IS 'The completion whose text is rejected.';
COMMENT ON COLUMN pairs.chosen IS 'The better response.';
COMMENT ON COLUMN pairs.rejected IS 'The worse response.';
COMMENT ON COLUMN pairs.source IS 'revision: the final revision over the draft.';
COMMENT ON COLUMN pairs.preference IS 'Probability in [0, 1] that chosen is better.';
COMMENT ON COLUMN pairs.created_at IS 'UTC.';

CREATE TABLE exclusions (
    run_id VARCHAR NOT NULL,
    row_id VARCHAR NOT NULL,
    step VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    detail VARCHAR,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, row_id, step, reason)
);
COMMENT ON TABLE exclusions IS 'One row per row that a run did not use, step and reason.';
COMMENT ON COLUMN exclusions.row_id IS 'The id of the row, or source:line of a prompt that could not be read.';
COMMENT ON COLUMN exclusions.step IS 'The step that left it out.';
COMMENT ON COLUMN exclusions.reason IS 'One word or two, the same for every row of that kind.';
COMMENT ON COLUMN exclusions.run_id IS 'The run that left it out.';
COMMENT ON COLUMN exclusions.detail IS 'What exactly.';
COMMENT ON COLUMN exclusions.created_at IS 'UTC.';

CREATE TABLE datasets (
    dataset_id VARCHAR PRIMARY KEY,
    run_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    row_count BIGINT NOT NULL,
    held_out_count BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE datasets IS 'One row per snapshot: an immutable set of rows, named by its content.';
COMMENT ON COLUMN datasets.dataset_id IS 'Hash of kind and the sorted row ids.';
COMMENT ON COLUMN datasets.run_id IS 'The run that first made it.';
COMMENT ON COLUMN datasets.kind IS 'sft (rows of examples), preferences (rows of pairs) or prompts.';
COMMENT ON COLUMN datasets.row_count IS 'Rows to train on.';
COMMENT ON COLUMN datasets.held_out_count IS 'Rows whose prompt is held out.';
COMMENT ON COLUMN datasets.created_at IS 'UTC.';

CREATE TABLE dataset_rows (
    dataset_id VARCHAR NOT NULL,
    row_id VARCHAR NOT NULL,
    is_held_out BOOLEAN NOT NULL,
    PRIMARY KEY (dataset_id, row_id)
);
COMMENT ON TABLE dataset_rows IS 'One row per member of a snapshot.';
COMMENT ON COLUMN dataset_rows.dataset_id IS 'The snapshot.';
COMMENT ON COLUMN dataset_rows.row_id IS 'An example, pair or prompt.';
COMMENT ON COLUMN dataset_rows.is_held_out IS 'Kept from training and used to measure.';

CREATE TABLE checkpoints (
    checkpoint_id VARCHAR PRIMARY KEY,
    base_model_id VARCHAR NOT NULL,
    dataset_id VARCHAR NOT NULL,
    constitution_id VARCHAR,
    run_id VARCHAR NOT NULL,
    parent_ids VARCHAR[] NOT NULL,
    parent_roles VARCHAR[] NOT NULL,
    stage VARCHAR NOT NULL,
    components JSON NOT NULL,
    path VARCHAR NOT NULL,
    duration_s DOUBLE NOT NULL,
    device VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE checkpoints IS 'One row per checkpoint: what a stage wrote; evaluations among them.';
COMMENT ON COLUMN checkpoints.checkpoint_id IS 'Hash of components: known before training.';
COMMENT ON COLUMN checkpoints.base_model_id IS 'The frozen base.';
COMMENT ON COLUMN checkpoints.dataset_id IS 'The snapshot it learned from.';
COMMENT ON COLUMN checkpoints.constitution_id IS 'The constitution in force when it was made.';
COMMENT ON COLUMN checkpoints.run_id IS 'The run that trained it.';
COMMENT ON COLUMN checkpoints.parent_ids IS 'Checkpoints it started from or was rewarded by.';
COMMENT ON COLUMN checkpoints.parent_roles IS 'What each parent was to it: a stage''s name.';
COMMENT ON COLUMN checkpoints.stage IS 'sft, reward, dpo, ppo or evaluate.';
COMMENT ON COLUMN checkpoints.components IS 'Everything the key is made of: settings, seed, versions, code.';
COMMENT ON COLUMN checkpoints.path IS 'Its folder, from the workspace.';
COMMENT ON COLUMN checkpoints.duration_s IS 'Seconds of training, interrupted attempts not counted.';
COMMENT ON COLUMN checkpoints.device IS 'Where it was trained.';
COMMENT ON COLUMN checkpoints.created_at IS 'UTC.';

CREATE TABLE metrics (
    subject_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    value DOUBLE,
    low DOUBLE,
    high DOUBLE,
    sample_count BIGINT,
    PRIMARY KEY (subject_id, name, step)
);
COMMENT ON TABLE metrics IS 'One row per measured number of a checkpoint or an evaluation.';
COMMENT ON COLUMN metrics.subject_id IS 'The checkpoint or evaluation.';
COMMENT ON COLUMN metrics.name IS 'What was measured; policy/metric in an evaluation.';
COMMENT ON COLUMN metrics.step IS 'Optimizer step; -1 for a whole.';
COMMENT ON COLUMN metrics.value IS 'The number.';
COMMENT ON COLUMN metrics.low IS 'Lower end of the 95 % interval.';
COMMENT ON COLUMN metrics.high IS 'Upper end of the 95 % interval.';
COMMENT ON COLUMN metrics.sample_count IS 'Rows behind the number.';

CREATE TABLE decisions (
    run_id VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    step VARCHAR NOT NULL,
    subject_id VARCHAR NOT NULL,
    verdict VARCHAR NOT NULL,
    row_count BIGINT NOT NULL,
    component VARCHAR,
    was VARCHAR,
    is_now VARCHAR,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, number)
);
COMMENT ON TABLE decisions IS 'One row per decision of a run: what it reused, made, repaired, and why.';
COMMENT ON COLUMN decisions.run_id IS 'The run.';
COMMENT ON COLUMN decisions.number IS 'Its place in the run, from 0.';
COMMENT ON COLUMN decisions.step IS 'The step it was about.';
COMMENT ON COLUMN decisions.subject_id IS 'The checkpoint or evaluation, or the step''s name for rows.';
COMMENT ON COLUMN decisions.verdict IS 'HIT, MISS, CUTOFF, FORCED, REPAIRED or FAILED.';
COMMENT ON COLUMN decisions.row_count IS 'How many rows it was about.';
COMMENT ON COLUMN decisions.component IS 'The component of the key that changed.';
COMMENT ON COLUMN decisions.was IS 'Its value before.';
COMMENT ON COLUMN decisions.is_now IS 'Its value now.';
COMMENT ON COLUMN decisions.created_at IS 'UTC.';

CREATE TABLE refs (
    name VARCHAR PRIMARY KEY,
    target_id VARCHAR NOT NULL,
    previous_id VARCHAR,
    updated_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE refs IS 'One row per named pointer, as latest/ppo or champion.';
COMMENT ON COLUMN refs.name IS 'The name.';
COMMENT ON COLUMN refs.target_id IS 'What it points to now.';
COMMENT ON COLUMN refs.previous_id IS 'What it pointed to before.';
COMMENT ON COLUMN refs.updated_at IS 'UTC.';

CREATE VIEW lineage_edges AS
    SELECT completion_id AS child_id, model_id AS parent_id, 'model' AS role FROM completions
    UNION ALL SELECT completion_id, prompt_id, 'prompt' FROM completions
    UNION ALL SELECT completion_id, few_shot_id, 'examples' FROM completions
        WHERE few_shot_id IS NOT NULL
    UNION ALL SELECT critique_completion_id, principle_id, 'principle' FROM revisions
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
    UNION ALL SELECT checkpoint_id, unnest(parent_ids), unnest(parent_roles) FROM checkpoints;
COMMENT ON VIEW lineage_edges IS 'One row per edge of the lineage: child_id was made from parent_id, which was its role.';
