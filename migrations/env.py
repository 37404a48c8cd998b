"""Alembic's entry: runs one schema's history on the connection the runner hands over."""

from alembic import context

config = context.config
schema = config.attributes["schema"]

context.configure(
    connection=config.attributes["connection"],
    version_table="alembic_version",
    version_table_schema=schema,
    transaction_per_migration=True,
)
# No transaction here: each migration has its own.
with context.begin_transaction():
    context.run_migrations()
