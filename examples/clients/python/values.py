"""What becomes of keys and values of each type: `python3 values.py [async|sqlalchemy]`, after ../values.sql."""

import asyncio
import sys
from collections import namedtuple
from datetime import date, datetime, time as clock, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from uuid import UUID

import psycopg

import petition_cas_psycopg as cas
from petition_cas import FateError, Roster

ODD = '50% "odd"?.'
Calls = namedtuple("Calls", "swap swap_many claim ask")


class Colour(Enum):
    RED = "red"


VALUES = [
    ("str", "text", "O'Brien \"?%s\\ ü"),
    ("Enum", "text", Colour.RED),
    ("int", "bigint", 2**53 + 1),
    ("Decimal", "numeric", Decimal("0.10")),
    ("bool", "boolean", True),
    ("float", "double precision", 0.1),
    ("bytes", "bytea", b"\0ab\xff"),
    ("memoryview", "bytea", memoryview(b"\0ab\xff")),
    ("date", "date", date(2026, 3, 1)),
    ("time", "time", clock(9, 30, 0, 250000)),
    ("datetime", "timestamp", datetime(2026, 3, 1, 9, 30, 0, 250000)),
    ("datetime with a zone", "timestamptz", datetime(2026, 3, 1, 9, 30, 0, 250000, timezone(timedelta(hours=1)))),
    ("timedelta", "interval", timedelta(seconds=-1.5)),
    ("UUID", "uuid", UUID("00000000-0000-4000-8000-000000000001")),
]
REFUSED = [("object", object()), ("Fraction", Fraction(1, 3)), ("set", {1}), ("generator", (n for n in [1]))]
REFUSED_KEYS = [("float", 2.0**53), ("NaN", float("nan"))]


def refused(call):
    try:
        call()
    except (TypeError, ValueError) as error:
        return str(error)
    return "sent"


def state(call):
    """The SQLSTATE of the server's error, if it is not one of petition_cas."""
    try:
        call()
    except FateError as error:
        return type(error).__name__
    except Exception as error:
        return getattr(error, "orig", error).diag.sqlstate
    return "sent"


def show(calls):
    swap, swap_many, claim, ask = calls
    for name, type, value in VALUES:
        swap(ODD + type, value, "open", "held", changes={"value": value, "document": [value]})
        key = swap_many(ODD + type, [value], "held", "open")[0].key
        swap(ODD + type + " part", [1, value], "open", "held")
        part = swap_many(ODD + type + " part", [{"id": value, "n": 1}], "held", "open")[0].key
        print(f"{name}: key {key}, part {part}, value {' '.join(ask('SELECT * FROM stored(%s)', type)[0])}")
    more = {"n": None, "nan": float("nan"), "more": {"a": ["b", 1, True]}}
    swap(ODD + "text", "red", "open", "held", changes={"value": None, "document": more})
    swap(ODD + "text", "red", "held", "open")
    print("None in changes:", *ask("SELECT * FROM stored('text')")[0])
    for form, call in [("key", lambda: swap(ODD + "text", None, "open", "won")),
                       ("keys", lambda: swap_many(ODD + "text", None, "open", "won")),
                       ("one of keys", lambda: swap_many(ODD + "text", [None], "open", "won")),
                       ("part", lambda: swap(ODD + "text part", [1, None], "open", "won"))]:
        print(f"None as {form}: {state(call)}")
    for name, value in REFUSED + REFUSED_KEYS:
        told = {refused(call) for call in [lambda: swap(ODD + "text", value, "open", "won"),
                                           lambda: swap(ODD + "text part", [1, value], "open", "won"),
                                           lambda: swap(ODD + "text part", {"n": 1, "id": value}, "open", "won"),
                                           lambda: swap_many(ODD + "text", [value], "open", "won")]}
        if (name, value) in REFUSED:
            told |= {refused(lambda: swap(ODD + "text", "red", "open", "held", changes={"document": [value]}))}
        print(f"{name}:", *sorted(told))
    print("part:", refused(lambda: swap(ODD + "text part", [1, [2]], "open", "won")))
    print("member:", refused(lambda: swap(ODD + "text", "red", "open", "held", changes={"document": {1: 2}})))
    print("changes:", refused(lambda: swap(ODD + "text", "red", "open", "held", changes=["document"])))
    print("keys:", refused(lambda: swap_many(ODD + "text", "red", "open", "held")))
    for name in None, "", ".a", "a\0b", "a" * 64:
        print("relation:", refused(lambda: swap(name, 1, "open", "won")), refused(lambda: swap_many(name, [1], "open", "won")) == refused(
            lambda: claim(name, "", Roster([], ""))))
    roster = Roster(*ask("SELECT * FROM resolve_roster(%s::regclass, 'state:open')", '"50% ""odd""?"."Orders"')[0])
    print("claim:", claim(ODD + "Orders", "state:open", roster).ids, state(lambda: claim(ODD + "orders", "state:open", roster)))
    for id in "no JSON", '["a"]', "null", "":
        print(f"PF001 with DETAIL {id}: {state(lambda: swap('strange', id, 'open', 'won'))}")


def terminate(conn):
    with psycopg.connect(autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", (conn.info.backend_pid,))
    return conn


def with_psycopg():
    made = []

    def connect():  # the first one is lost before it is used
        made.append(psycopg.connect())
        return made[-1] if len(made) > 1 else terminate(made[-1])

    with psycopg.connect(autocommit=True) as conn:
        show(Calls(*(partial(f, conn) for f in (cas.swap, cas.swap_many, cas.claim)),
                   lambda sql, *values: conn.execute(sql, values).fetchall()))
    print(f"lost: {cas.decide(connect, 'late', 1, 'open', 'won').state}, {len(made)} connections")


def with_async():
    run = asyncio.new_event_loop().run_until_complete
    made = []

    async def connect():
        made.append(await psycopg.AsyncConnection.connect())
        return made[-1] if len(made) > 1 else terminate(made[-1])

    async def ask(sql, *values):
        return await (await conn.execute(sql, values)).fetchall()

    conn = run(psycopg.AsyncConnection.connect(autocommit=True))
    show(Calls(*(lambda *args, f=f, **options: run(f(*args, **options))
                 for f in (partial(cas.swap_async, conn), partial(cas.swap_many_async, conn), partial(cas.claim_async, conn), ask))))
    print(f"lost: {run(cas.decide_async(connect, 'late', 2, 'open', 'won')).state}, {len(made)} connections")
    run(conn.close())


def with_sqlalchemy():
    import sqlalchemy
    from sqlalchemy.orm import Session

    import petition_cas_sqlalchemy as orm
    driver = "psycopg2" if sqlalchemy.__version__.startswith("1.") else "psycopg"
    with Session(sqlalchemy.create_engine(f"postgresql+{driver}://", isolation_level="AUTOCOMMIT")) as session:
        show(Calls(*(partial(f, session) for f in (orm.swap, orm.swap_many, orm.claim)),
                   lambda sql, *values: session.connection().exec_driver_sql(sql, values).fetchall()))


{"async": with_async, "sqlalchemy": with_sqlalchemy}.get("".join(sys.argv[1:]), with_psycopg)()
