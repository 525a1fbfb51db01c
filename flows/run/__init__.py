"""How a run runs: its session, its steps as Prefect tasks, the device, progress, what it shows.

Imports plan/, not explain/.
"""
