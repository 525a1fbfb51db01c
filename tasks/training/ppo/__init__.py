"""PPO from a reward adapter: one frozen base, four LoRA roles, our own trainer (TRL removed PPO in
1.13).

`config` is free of torch imports, so recipes can be validated without it; `job.run` is the worker's
job.

Left out: several processes, vLLM, DeepSpeed, a held-out "gold" judge inside the loop.
"""
