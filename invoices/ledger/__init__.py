"""The ledger: one transactional database of all that was seen, sent and received; the warehouse is derived from it."""

from invoices.ledger.ledger import Ledger, Transaction

__all__ = ["Ledger", "Transaction"]
