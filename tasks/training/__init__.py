"""The training stages: SFT, reward model, DPO (TRL trainers) and PPO (our own), all QLoRA.

Each stage module has `run(spec, report) -> dict` and runs in a worker process. `settings` alone is
light (no torch): recipes are validated against it in the flow process.
"""
