# What `alembic init migrations` writes, in short; the page has the one that takes its place.
from alembic import context
from sqlalchemy import create_engine

import models

with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection, target_metadata=models.metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()
