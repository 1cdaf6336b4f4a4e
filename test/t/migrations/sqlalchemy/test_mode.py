# What docs/testing.md says of SQLAlchemy 2: the session's own way to be in a transaction of the fixture.

import pytest
import sqlalchemy
from sqlalchemy.orm import Session

from shop import engine
from test_shop import count, decide

pytestmark = pytest.mark.skipif(sqlalchemy.__version__ < "2", reason="SQLAlchemy 2 has it")


@pytest.mark.parametrize("run", [1, 2])
def test_undone(run):
    with engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            assert count(session) == 0
            decide(session)
        outer.rollback()
