"""Standard tasks (ARC, HellaSwag, …): a library asks and scores, an engine of ours answers."""
