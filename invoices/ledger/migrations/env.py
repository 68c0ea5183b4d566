"""What Alembic runs for each command: migrate on the connection that the caller has open, in its transaction."""

from alembic import context

from invoices.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
