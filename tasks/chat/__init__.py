"""Messages to tokens for any chat model: what its template takes, what ends a turn, what is thought
aloud. Pure: no torch, and of transformers only a tokenizer, as an argument."""
