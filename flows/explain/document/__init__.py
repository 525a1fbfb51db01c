"""A document in words, tables, texts and pictures: for a terminal, as Markdown, as one page."""
