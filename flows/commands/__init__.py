"""The command line: what people type, a file a family; `cli.py` puts them together.

Imports every other room.
"""
