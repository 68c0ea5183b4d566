"""Batches of documents at invoicedataextraction.com: created, uploaded, submitted once, polled, concluded."""
