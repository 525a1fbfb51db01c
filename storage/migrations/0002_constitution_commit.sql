-- Who wrote a version of a constitution, as far as git knows.

ALTER TABLE constitutions ADD COLUMN git_commit VARCHAR;
ALTER TABLE constitutions ADD COLUMN git_author VARCHAR;
COMMENT ON COLUMN constitutions.git_commit IS 'The last commit that changed the file; null outside a checkout or where the file had changes that were not committed.';
COMMENT ON COLUMN constitutions.git_author IS 'That commit''s author, name and mail; null where git_commit is.';
