"""Extraction of documents: local for e-invoices, remote by the vendors' extraction APIs."""
