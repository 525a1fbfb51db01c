"""The words: YAML principles and pure functions over them (load, lint, assign, render)."""
