"""What we saw, asked and were told: one database, commit-or-nothing, the truth from which the warehouse is derived."""

from invoices.ledger.ledger import Ledger, Transaction

__all__ = ["Ledger", "Transaction"]
