"""Which extractor, in what order, and what counts as an answer."""
