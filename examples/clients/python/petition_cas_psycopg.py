"""petition_cas on psycopg 3.

assign, swap, swap_many and claim work on a connection of yours, in its
transaction, and repeat nothing. What is lost raises a FateError, after which the
transaction is aborted, unless the call was in a savepoint: `with
conn.transaction():`. Only decide() has a transaction of its own, and runs it again
where that is safe. The functions with _async are the same for AsyncConnection.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import contextmanager
from typing import Any, Awaitable, Callable, Concatenate, Coroutine, Iterator, Optional, ParamSpec, TypeVar

import psycopg
from psycopg.rows import namedtuple_row

from petition_cas import (Outcome, Roster, Statement, assign_statement, claim_statement, may_repeat, swap_many_statement,
                          swap_statement, typed)

P = ParamSpec("P")
T = TypeVar("T")
ATTEMPTS = 5


@contextmanager
def typed_errors() -> Iterator[None]:
    """Raise a FateError for an error of psycopg that is one."""
    try:
        yield
    except psycopg.Error as error:
        fate = typed(error)
        if fate is None:
            raise
        raise fate from error


def _sync(statement: Callable[P, Statement], take: Callable[[list[Any]], T]) -> Callable[Concatenate[psycopg.Connection[Any], P], T]:
    def call(conn: psycopg.Connection[Any], /, *args: P.args, **options: P.kwargs) -> T:
        with typed_errors():
            return take(conn.cursor(row_factory=namedtuple_row).execute(*statement(*args, **options)).fetchall())

    return call


def _async(statement: Callable[P, Statement], take: Callable[[list[Any]], T]) -> Callable[Concatenate[psycopg.AsyncConnection[Any], P], Coroutine[Any, Any, T]]:
    async def call(conn: psycopg.AsyncConnection[Any], /, *args: P.args, **options: P.kwargs) -> T:
        with typed_errors():
            cursor = await conn.cursor(row_factory=namedtuple_row).execute(*statement(*args, **options))
            return take(await cursor.fetchall())

    return call


def _row(rows: list[Any]) -> Any:
    return rows[0]


def _outcomes(rows: list[Any]) -> list[Outcome]:
    return [Outcome(*row) for row in rows]


def _roster(rows: list[Any]) -> Roster:
    return Roster(*rows[0])


# Each has the arguments of its statement, after the connection.
assign = _sync(assign_statement, _row)  # a petition's row
swap = _sync(swap_statement, _row)  # the row
swap_many = _sync(swap_many_statement, _outcomes)
claim = _sync(claim_statement, _roster)
assign_async = _async(assign_statement, _row)
swap_async = _async(swap_statement, _row)
swap_many_async = _async(swap_many_statement, _outcomes)
claim_async = _async(claim_statement, _roster)


def decide(connect: Callable[[], psycopg.Connection[Any]], relation: str, key: Any, expected_state: str, new_state: str, *,
           request_id: Optional[str] = None, **options: Any) -> Any:
    """Decide a row in a transaction of its own, on connections from connect(); return it.

    The transaction runs again after class 40, and after a connection that was
    lost: if that one had committed, the request id tells the server that it is
    the same decision. Hand in a request_id to go on with it later. Request ids are
    recorded with fates alone, so new_state has to be a fate, or the table to have a
    history: else the server refuses the call (22023).
    """
    request_id = request_id or str(uuid.uuid4())
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with connect() as conn:
                return swap(conn, relation, key, expected_state, new_state, request_id=request_id, **options)
        except psycopg.Error as error:
            if attempt == ATTEMPTS or not may_repeat(error):
                raise
        time.sleep(0.05 * 2**attempt)


async def decide_async(connect: Callable[[], Awaitable[psycopg.AsyncConnection[Any]]], relation: str, key: Any,
                       expected_state: str, new_state: str, *, request_id: Optional[str] = None, **options: Any) -> Any:
    """The same for AsyncConnection."""
    request_id = request_id or str(uuid.uuid4())
    for attempt in range(1, ATTEMPTS + 1):
        try:
            async with await connect() as conn:
                return await swap_async(conn, relation, key, expected_state, new_state, request_id=request_id, **options)
        except psycopg.Error as error:
            if attempt == ATTEMPTS or not may_repeat(error):
                raise
        await asyncio.sleep(0.05 * 2**attempt)
