"""Whether a workspace is as it was written: ids from rows, keys between rows, files by hash."""
