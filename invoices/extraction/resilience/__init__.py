"""How often, how long and side by side: budgets of calls, waiting and trying again, and when to stop."""
