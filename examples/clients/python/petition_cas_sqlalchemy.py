"""petition_cas on SQLAlchemy, 1.4 with psycopg2 and 2 with psycopg.

The functions work in the transaction of a Session: they flush it first, and
expire its objects afterwards, which therefore show the new state. What is lost
raises a FateError; to go on in the transaction, put the call into a savepoint:
`with session.begin_nested():`.
"""

from __future__ import annotations

from typing import Any, Callable, Concatenate, ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from petition_cas import (Outcome, Roster, Statement, assign_statement, claim_statement, swap_many_statement,
                          swap_statement, typed)

P = ParamSpec("P")
T = TypeVar("T")


def _call(statement: Callable[P, Statement], take: Callable[[list[Any]], T]) -> Callable[Concatenate[Session, P], T]:
    def call(session: Session, /, *args: P.args, **options: P.kwargs) -> T:
        session.flush()
        try:
            sql, parameters = statement(*args, **options)
            # In a list, since 1.4 takes a sequence that begins with one, as keys, for many sets of parameters.
            return take(session.connection().exec_driver_sql(sql, [tuple(parameters)]).fetchall())
        except DBAPIError as error:
            fate = typed(error.orig)
            if fate is None:
                raise
            raise fate from error
        finally:
            session.expire_all()

    return call


def _row(rows: list[Any]) -> Any:
    return rows[0]


# Each has the arguments of its statement, after the session.
assign = _call(assign_statement, _row)
swap = _call(swap_statement, _row)
swap_many = _call(swap_many_statement, lambda rows: [Outcome(*row) for row in rows])
claim = _call(claim_statement, lambda rows: Roster(*rows[0]))
