"""petition_cas for Python: what a loser is told, as exceptions, and the calls, as SQL.

This has no driver in it: petition_cas_psycopg.py runs the calls with psycopg 3,
petition_cas_sqlalchemy.py with SQLAlchemy. A relation is a name such as "orders"
or "shop.orders", as it is spelled in the catalog; a key is any value, or a list
or a dict for a key of several columns.
"""

from __future__ import annotations

import json
import uuid
from typing import Any, Iterable, NamedTuple, Optional, Sequence


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
        self.added: list[str] = detail["added"]  # at most the first 100
        self.removed: list[str] = detail["removed"]
        self.added_count: int = detail["added_count"]
        self.removed_count: int = detail["removed_count"]
        self.roster_hash: str = detail["roster_hash"]


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
    if cls is None or diag is None or not diag.message_detail:
        return None
    return cls(diag.message_primary, json.loads(diag.message_detail), diag.message_hint)


def may_repeat(error: Exception) -> bool:
    """Whether a transaction that ended so may be run again: class 40, 08 or 57P.

    libpq gives no SQLSTATE for a connection that is lost or refused; the drivers'
    exception for these is OperationalError.
    """
    diag = getattr(error, "diag", None)
    code: Optional[str] = diag.sqlstate if diag else None
    return code.startswith(("40", "08", "57P")) if code else type(error).__name__ == "OperationalError"


def _name(relation: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in relation.split(".")).replace("%", "%%")


def _key(key: Any) -> str:
    return json.dumps(key, default=str) if isinstance(key, (list, tuple, dict)) else str(key)


def _changes(changes: Optional[dict[str, Any]]) -> Optional[str]:
    return None if changes is None else json.dumps(changes, default=str)


def assign_statement(submission_id: uuid.UUID, expected_state: str, new_state: str, *, reason: Optional[str] = None,
                     seen_hash: Optional[str] = None, request_id: Optional[str] = None) -> Statement:
    return Statement("SELECT * FROM assign_fate(%s::uuid, %s, %s, %s, %s, %s)",
                     (str(submission_id), expected_state, new_state, reason, seen_hash, request_id))


def swap_statement(relation: str, key: Any, expected_state: str, new_state: str, *,
                   changes: Optional[dict[str, Any]] = None, reason: Optional[str] = None, seen_hash: Optional[str] = None,
                   request_id: Optional[str] = None, state_column: Optional[str] = None) -> Statement:
    return Statement(f"SELECT * FROM compare_and_swap(null::{_name(relation)}, %s::text, %s, %s, %s::jsonb, %s, %s, %s, %s)",
                     (_key(key), expected_state, new_state, _changes(changes), reason, seen_hash, request_id, state_column))


def swap_many_statement(relation: str, keys: Iterable[Any], expected_state: str, new_state: str, *,
                        changes: Optional[dict[str, Any]] = None, reason: Optional[str] = None,
                        request_id: Optional[str] = None, state_column: Optional[str] = None) -> Statement:
    return Statement("SELECT key, outcome, current_state FROM"
                     f" compare_and_swap_many(null::{_name(relation)}, %s::text[], %s, %s, %s::jsonb, %s, %s, %s)",
                     ([_key(key) for key in keys], expected_state, new_state, _changes(changes), reason, request_id, state_column))


def claim_statement(source: str, filter: str, seen: Roster, *, scope: Optional[str] = None,
                    confirmed: bool = False, key_column: str = "id") -> Statement:
    return Statement("SELECT resolved_ids, roster_hash, added, removed FROM claim_roster(%s::regclass, %s, %s::text[], %s,"
                     " scope => %s, confirmed => %s, key_column => %s)",
                     (source, filter, list(seen.ids), seen.hash, scope, confirmed, key_column))
