"""petition_cas for Python: what a loser is told, as exceptions, and the calls, as SQL.

This has no driver in it: petition_cas_psycopg.py runs the calls with psycopg 3,
petition_cas_sqlalchemy.py with SQLAlchemy. A relation is a name such as "orders"
or "shop.orders", as it is spelled in the catalog; a key is a value, or a list or
a dict for a key of several columns. README.md tells as what each type of value is
sent; a TypeError or ValueError refuses the others, before anything is sent.
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Iterable, Mapping, NamedTuple, Optional, Sequence


class FateError(Exception):
    """What a loser is told. Each member of the DETAIL is an attribute, None if it was left out."""

    sqlstate = ""

    def __init__(self, message: str, detail: dict[str, Any], hint: Optional[str]) -> None:
        super().__init__(message)
        self.detail = detail
        self.hint = hint
        self.submission_id: Optional[str] = detail.get("submission_id")
        self.relation: Optional[str] = detail.get("relation")
        self.key: Optional[str] = detail.get("key")
        self.expected_state: Optional[str] = detail.get("expected_state")
        self.current_state: Optional[str] = detail.get("current_state")
        self.new_state: Optional[str] = detail.get("new_state")
        self.allowed: Optional[list[str]] = detail.get("allowed")
        self.assigned_at: Optional[str] = detail.get("assigned_at")
        self.assigned_by: Optional[str] = detail.get("assigned_by")
        self.reason: Optional[str] = detail.get("reason")
        self.request_id: Optional[str] = detail.get("request_id")
        self.evidence_hash: Optional[str] = detail.get("evidence_hash")


class ConcurrentModification(FateError):
    """The row is not in the expected state, or changed meanwhile."""

    sqlstate = "PF001"


class AlreadyFated(FateError):
    """The row has its fate, for ever."""

    sqlstate = "PF002"


class InvalidTransition(FateError):
    """The lifecycle does not lead there."""

    sqlstate = "PF003"


class NotFound(FateError):
    """There is no such row, or none that you may see."""

    sqlstate = "PF004"


class RosterChanged(FateError):
    """The filter selects other rows than those that were seen."""

    sqlstate = "PF005"

    def __init__(self, message: str, detail: dict[str, Any], hint: Optional[str]) -> None:
        super().__init__(message, detail, hint)
        self.added: Optional[list[str]] = detail.get("added")  # at most the first 100; None if no ids were seen
        self.removed: Optional[list[str]] = detail.get("removed")
        self.added_count: Optional[int] = detail.get("added_count")
        self.removed_count: Optional[int] = detail.get("removed_count")
        self.roster_hash: Optional[str] = detail.get("roster_hash")


class EvidenceChanged(FateError):
    """The row was edited since it was seen; evidence_hash is what it has now."""

    sqlstate = "PF007"


ERRORS = {error.sqlstate: error for error in FateError.__subclasses__()}


class Outcome(NamedTuple):
    """What became of one key of many."""

    key: str
    outcome: str
    current_state: Optional[str]


class Roster(NamedTuple):
    """A set of keys, as text, with its hash; what claim() returns is locked."""

    ids: list[str]
    hash: str
    added: Sequence[str] = ()
    removed: Sequence[str] = ()


class Statement(NamedTuple):
    sql: str
    parameters: Sequence[Any]


def typed(error: Exception) -> Optional[FateError]:
    """Return what a driver's error means, or None. This is for psycopg2 as well."""
    diag = getattr(error, "diag", None)
    cls = ERRORS.get(diag.sqlstate) if diag and diag.sqlstate else None
    if cls is None or diag is None:
        return None
    try:
        detail = json.loads(diag.message_detail or "")
    except ValueError:
        return None  # somebody else's error, as is one whose DETAIL is another JSON value
    return cls(diag.message_primary, detail, diag.message_hint) if isinstance(detail, dict) else None


def may_repeat(error: Exception) -> bool:
    """Whether a transaction that ended so may be run again: class 40, 08 or 57P.

    libpq gives no SQLSTATE for a connection that is lost or refused; the drivers'
    exceptions for these are OperationalError and ConnectionTimeout.
    """
    diag = getattr(error, "diag", None)
    code: Optional[str] = diag.sqlstate if diag else None
    if code:
        return code.startswith(("40", "08", "57P"))
    if type(error).__name__ not in ("OperationalError", "ConnectionTimeout"):
        return False
    # Nor for what the server answers to a new connection, though that has one: the answer is
    # here as its text alone. Those of class 57P are told by their words; any other, such as a
    # wrong password or no such database, is the same the next time. (A server whose
    # lc_messages is not English has other words: its 57P03 is then not repeated, or what it
    # does not call FATAL is repeated in vain.)
    text = str(error)
    return not re.search("FATAL:|no password supplied", text) or bool(
        re.search("FATAL: +(the database system is (starting up|shutting down|in recovery mode|not (yet )?accepting connections)"
                  "|terminating connection)", text))


def _quoted(relation: str) -> str:
    parts = relation.split(".") if isinstance(relation, str) else [""]
    for part in parts:
        # The server would cut a longer name off, which may be another table's.
        if not part or "\0" in part or len(part.encode()) > 63:
            raise ValueError(f"no name of a relation: {relation!r}")
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def _name(relation: str) -> str:
    return _quoted(relation).replace("%", "%%")


def _text(value: Any) -> str:
    """The text form of a value, which the input functions of the types that it is for read under any setting."""
    if isinstance(value, Enum):
        return _text(value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value) if Decimal(value).is_finite() else str(Decimal(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "\\x" + bytes(value).hex()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.days:+d} days {value.seconds:+d} seconds {value.microseconds:+d} microseconds"
    if isinstance(value, (Decimal, uuid.UUID)):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__} has no certain text form here: give it as text")


def _key_text(value: Any) -> Optional[str]:
    if isinstance(value, float) and not abs(value) < 2**53:
        raise ValueError(f"the float {value!r} is not exact as a key: give it as text")
    return None if value is None else _text(value)


def _member(name: Any) -> str:
    name = name.value if isinstance(name, Enum) else name
    if not isinstance(name, str):
        raise TypeError(f"a value of type {type(name).__name__} names no column or member: give a text")
    return json.dumps(name)


def _key(key: Any) -> Optional[str]:
    if isinstance(key, Mapping):
        return "{" + ", ".join(f"{_member(name)}: {json.dumps(_key_text(value))}" for name, value in key.items()) + "}"
    return json.dumps([_key_text(value) for value in key]) if isinstance(key, (list, tuple)) else _key_text(key)


def _keys(keys: Optional[Iterable[Any]]) -> Optional[list[Optional[str]]]:
    if isinstance(keys, (str, bytes, bytearray, memoryview, Mapping)):
        raise TypeError(f"a value of type {type(keys).__name__} is no set of keys")
    return None if keys is None else [_key(key) for key in keys]


def _json(value: Any) -> str:
    """The JSON of a value of changes; what JSON has no type for is a string of its text form."""
    if isinstance(value, Enum):
        return _json(value.value)
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_member(name)}: {_json(member)}" for name, member in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_json, value)) + "]"
    bare = isinstance(value, int) or isinstance(value, (float, Decimal)) and Decimal(value).is_finite()
    return _text(value) if bare else json.dumps(_text(value))


def _changes(changes: Optional[Mapping[str, Any]]) -> Optional[str]:
    if not isinstance(changes, (Mapping, type(None))):
        raise TypeError(f"a value of type {type(changes).__name__} is no changes: give names with values")
    return None if changes is None else _json(changes)


def assign_statement(submission_id: uuid.UUID, expected_state: str, new_state: str, *, reason: Optional[str] = None,
                     seen_hash: Optional[str] = None, request_id: Optional[str] = None) -> Statement:
    return Statement("SELECT * FROM assign_fate(%s::uuid, %s, %s, %s, %s, %s)",
                     (_key_text(submission_id), expected_state, new_state, reason, seen_hash, request_id))


def swap_statement(relation: str, key: Any, expected_state: str, new_state: str, *,
                   changes: Optional[Mapping[str, Any]] = None, reason: Optional[str] = None, seen_hash: Optional[str] = None,
                   request_id: Optional[str] = None, state_column: Optional[str] = None) -> Statement:
    return Statement(f"SELECT * FROM compare_and_swap(null::{_name(relation)}, %s::text, %s, %s, %s::jsonb, %s, %s, %s, %s)",
                     (_key(key), expected_state, new_state, _changes(changes), reason, seen_hash, request_id, state_column))


def swap_many_statement(relation: str, keys: Iterable[Any], expected_state: str, new_state: str, *,
                        changes: Optional[Mapping[str, Any]] = None, reason: Optional[str] = None,
                        request_id: Optional[str] = None, state_column: Optional[str] = None) -> Statement:
    return Statement("SELECT key, outcome, current_state FROM"
                     f" compare_and_swap_many(null::{_name(relation)}, %s::text[], %s, %s, %s::jsonb, %s, %s, %s)",
                     (_keys(keys), expected_state, new_state, _changes(changes), reason, request_id, state_column))


def claim_statement(source: str, filter: str, seen: Roster, *, scope: Optional[str] = None,
                    confirmed: bool = False, key_column: str = "id") -> Statement:
    return Statement("SELECT resolved_ids, roster_hash, added, removed FROM claim_roster(%s::regclass, %s, %s::text[], %s,"
                     " scope => %s, confirmed => %s, key_column => %s)",
                     (_quoted(source), filter, _keys(seen.ids), seen.hash, scope, confirmed, key_column))
