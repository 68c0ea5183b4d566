"""Clients: one module per remote API, named by host; they speak the wire and nothing else."""
