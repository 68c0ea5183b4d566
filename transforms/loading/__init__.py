"""Loads ledger rows into the working warehouse with dlt, and publishes the copy that everybody else opens."""
