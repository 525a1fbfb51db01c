"""What a snapshot teaches, and what is odd about it: `solon data report`."""
