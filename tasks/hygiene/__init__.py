"""Which rows should not be learned from, and why: rules over one row and over all. Pure."""
