"""The judge: which of two responses keeps a principle better, and how far to trust its word."""
