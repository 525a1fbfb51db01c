-- What people say of two answers, by content. The table of 0001 was never written to.

DROP TABLE verdicts;
CREATE TABLE verdicts (
    verdict_id VARCHAR PRIMARY KEY,
    subject_id VARCHAR NOT NULL,
    prompt_id VARCHAR NOT NULL,
    first VARCHAR NOT NULL,
    second VARCHAR NOT NULL,
    principle_ids VARCHAR[] NOT NULL,
    answer VARCHAR NOT NULL,
    edited VARCHAR,
    author VARCHAR NOT NULL,
    note VARCHAR NOT NULL,
    is_undone BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE verdicts IS 'One row per verdict that a person gave on two answers. Keyed by content, it outlives the rows it was given on; of an author''s verdicts on one subject the newest that was not undone counts.';
COMMENT ON COLUMN verdicts.verdict_id IS 'Hash of subject, author, answer, edited text and time.';
COMMENT ON COLUMN verdicts.subject_id IS 'Hash of prompt_id, first, second and principle_ids.';
COMMENT ON COLUMN verdicts.prompt_id IS 'The prompt.';
COMMENT ON COLUMN verdicts.first IS 'The answer whose text sorts first.';
COMMENT ON COLUMN verdicts.second IS 'The other answer.';
COMMENT ON COLUMN verdicts.principle_ids IS 'The words of the principles that the answers were looked at under, sorted.';
COMMENT ON COLUMN verdicts.answer IS 'first or second, which is better; tie; both_bad.';
COMMENT ON COLUMN verdicts.edited IS 'The better answer as its reviewer would have it; null where it was left as it is.';
COMMENT ON COLUMN verdicts.author IS 'Who said so.';
COMMENT ON COLUMN verdicts.note IS 'In their words.';
COMMENT ON COLUMN verdicts.is_undone IS 'Whether its author took it back.';
COMMENT ON COLUMN verdicts.created_at IS 'When it was said, UTC.';

ALTER TABLE labels ADD COLUMN verdict_id VARCHAR;
COMMENT ON COLUMN labels.verdict_id IS 'The reviewer''s verdict; null for programs, judges and people''s files.';
COMMENT ON COLUMN labels.label_id IS 'Hash of pair, who gave it, principle, rule, comparison and verdict.';
COMMENT ON COLUMN pairs.revision_id IS 'The revision that is one of its sides, or that a reviewer edited; null for other sources, and before this was kept, when the revision alone named the pair.';
COMMENT ON COLUMN pairs.source IS 'revision, distilled or candidates: where both responses come from; or people: a pair of theirs, or one with an answer that a reviewer edited.';
