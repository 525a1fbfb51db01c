ALTER TABLE runs ADD COLUMN machine VARCHAR;
COMMENT ON COLUMN runs.machine IS 'Processor, usable cores and GPUs of the machine; null in runs before this was kept.';
ALTER TABLE checkpoints ADD COLUMN dtype VARCHAR;
COMMENT ON COLUMN checkpoints.dtype IS 'The number type it was computed in, as the machine has instructions for it; no part of the key unless asked for.';
