"""How good each checkpoint is: answers on held-out prompts, measures, intervals and the report.

`answer` runs in the worker (torch); `metrics`, `refusal`, `escape`, `plots` and `report` do not.
"""
