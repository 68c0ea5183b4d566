"""Stand-in for BillflowAI, which gives its host name only to customers (contract sheet 03)."""
