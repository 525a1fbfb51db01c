"""What a run would do: recipe, inputs, keys, plan, causes, history, cost. No Prefect, no torch.

Imports nothing of the other rooms.
"""
