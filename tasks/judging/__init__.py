"""The judge: which of two responses keeps a principle better, and how far its word can be trusted."""
