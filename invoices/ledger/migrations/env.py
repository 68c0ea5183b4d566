"""The script that Alembic runs for each command; it uses the connection and the transaction of the caller."""

from alembic import context

from invoices.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
