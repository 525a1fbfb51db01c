-- What an evaluation asks beside held-out prompts: questions of probes, and ordinary text.

COMMENT ON COLUMN completions.step IS 'draft, critique, revision, teacher or sample (answers to choose among), answer to a held-out prompt or to a question of a probe, or judgement: a judge''s reasoning.';
COMMENT ON COLUMN answers.policy IS 'Whose answer it is: base, sft, dpo, ppo or champion.';
COMMENT ON COLUMN scores.completion_id IS 'The completion; of a measure nll the passage of ordinary text, which no model wrote.';
COMMENT ON COLUMN scores.measure IS 'logprob: natural logarithm of the text''s probability at the completion''s temperature; reward: a reward model''s score; nll: mean negative logarithm of the probability of a token, of raw text.';
