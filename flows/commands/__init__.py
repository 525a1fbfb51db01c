"""The command line's commands, a file a family; `flows.cli` puts them together."""
