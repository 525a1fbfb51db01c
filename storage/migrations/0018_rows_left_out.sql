-- A source may hold any number of rows that are not used: the first are rows, one stands for the rest.

ALTER TABLE exclusions ADD COLUMN row_count BIGINT DEFAULT 1;
COMMENT ON COLUMN exclusions.row_count IS 'How many rows it stands for: more than one where a source had very many.';
