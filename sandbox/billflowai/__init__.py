"""Stand-in for BillflowAI, whose host its customers are told (contract sheet 03)."""
