-- Where every ref has pointed: what a rollback and NAME~1 read.

CREATE TABLE ref_moves (
    name VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    target_id VARCHAR NOT NULL,
    from_id VARCHAR,
    author VARCHAR NOT NULL,
    note VARCHAR NOT NULL,
    is_rollback BOOLEAN NOT NULL,
    moved_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (name, number)
);
COMMENT ON TABLE ref_moves IS 'One row per move of a ref.';
COMMENT ON COLUMN ref_moves.name IS 'The ref.';
COMMENT ON COLUMN ref_moves.number IS 'Its place among the moves of that ref, from 0.';
COMMENT ON COLUMN ref_moves.target_id IS 'Where it points from then on.';
COMMENT ON COLUMN ref_moves.from_id IS 'Where it pointed until then; null for the first.';
COMMENT ON COLUMN ref_moves.author IS 'Who moved it; empty for a run.';
COMMENT ON COLUMN ref_moves.note IS 'Why, in their words.';
COMMENT ON COLUMN ref_moves.is_rollback IS 'Whether it took back the move before it that was not taken back yet.';
COMMENT ON COLUMN ref_moves.moved_at IS 'UTC.';

INSERT INTO ref_moves SELECT name, 0, previous_id, NULL, '', '', false, updated_at
    FROM refs WHERE previous_id IS NOT NULL;
INSERT INTO ref_moves
    SELECT name, CASE WHEN previous_id IS NULL THEN 0 ELSE 1 END, target_id, previous_id, '', '',
        false, updated_at
    FROM refs;
