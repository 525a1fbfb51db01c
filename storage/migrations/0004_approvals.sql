-- Who agreed to spend what: the questions that runs asked before they went on.

CREATE TABLE approvals (
    approval_id VARCHAR PRIMARY KEY,
    run_id VARCHAR,
    flow_run_id VARCHAR NOT NULL,
    constitution_id VARCHAR NOT NULL,
    plan JSON NOT NULL,
    decided_by VARCHAR,
    note VARCHAR,
    limit_calls BIGINT,
    is_approved BOOLEAN,
    asked_at TIMESTAMPTZ NOT NULL,
    decided_at TIMESTAMPTZ
);
COMMENT ON TABLE approvals IS 'One row per question whether a run may go on, asked of a person with the plan of it.';
COMMENT ON COLUMN approvals.approval_id IS 'apr_ and the flow run''s id: a flow run asks once.';
COMMENT ON COLUMN approvals.run_id IS 'The run that made the samples shown with the question; null for none.';
COMMENT ON COLUMN approvals.flow_run_id IS 'Prefect''s id of the flow run that asked.';
COMMENT ON COLUMN approvals.constitution_id IS 'The constitution proposed.';
COMMENT ON COLUMN approvals.plan IS 'The plan as it was shown, cost included.';
COMMENT ON COLUMN approvals.decided_by IS 'Who answered, as they say.';
COMMENT ON COLUMN approvals.note IS 'Why, in their words; of a limit that refused the run, that.';
COMMENT ON COLUMN approvals.limit_calls IS 'The most calls they allowed; null for no limit.';
COMMENT ON COLUMN approvals.is_approved IS 'Whether the run went on; null while nobody has answered.';
COMMENT ON COLUMN approvals.asked_at IS 'UTC.';
COMMENT ON COLUMN approvals.decided_at IS 'UTC; null while nobody has answered.';
