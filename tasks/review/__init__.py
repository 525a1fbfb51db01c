"""What people say of two answers: verdicts, the queue of those worth most, files for others."""
