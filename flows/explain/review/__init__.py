"""Reviewers before the queue, in a terminal or a browser: what they see and what they say."""
