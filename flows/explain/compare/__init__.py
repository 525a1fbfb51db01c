"""What changed between two constitutions, snapshots or checkpoints."""
