"""The sample data: fictional companies, their documents with known contents, and broken or unrelated files."""
