"""How good each checkpoint is: answers on held-out prompts, scores, measures, intervals, report."""
