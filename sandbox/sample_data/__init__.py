"""The sample world: fictional companies, their documents with known contents, and what goes wrong in life."""
