"""A repository of petitions, for an application with ports and adapters.

It has the errors' names that such an application gives them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Optional

import psycopg

from petition_cas import AlreadyFated as PetitionAlreadyFatedError
from petition_cas import ConcurrentModification as ConcurrentModificationError
from petition_cas import InvalidTransition as InvalidStateTransitionError
from petition_cas import NotFound as PetitionSubmissionNotFoundError
from petition_cas_psycopg import assign_async

__all__ = ["ConcurrentModificationError", "InvalidStateTransitionError", "PetitionAlreadyFatedError", "PetitionState",
           "PetitionSubmission", "PetitionSubmissionNotFoundError", "PetitionSubmissionRepository"]


class PetitionState(str, Enum):
    """The states of petition_lifecycle()."""

    RECEIVED = "RECEIVED"
    DELIBERATING = "DELIBERATING"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    REFERRED = "REFERRED"
    ESCALATED = "ESCALATED"


@dataclass(frozen=True)
class PetitionSubmission:
    """A row of petition_submissions."""

    id: uuid.UUID
    type: str
    text: str
    submitter_id: Optional[uuid.UUID]
    state: PetitionState
    content_hash: Optional[bytes]
    realm: str
    fate_reason: Optional[str]
    created_at: datetime
    updated_at: datetime


class PetitionSubmissionRepository:
    """Petitions on a connection, in its transaction."""

    def __init__(self, conn: psycopg.AsyncConnection[Any]) -> None:
        self._conn = conn

    async def assign_fate_cas(self, submission_id: uuid.UUID, expected_state: PetitionState,
                              new_state: PetitionState) -> PetitionSubmission:
        """Assign a petition's fate, if it is in expected_state; return it as it is then.

        Raises, tested in this order:
            PetitionSubmissionNotFoundError: there is no such petition.
            PetitionAlreadyFatedError: it had its fate before.
            ConcurrentModificationError: it is not in expected_state, or was changed meanwhile.
            InvalidStateTransitionError: new_state is not a fate that expected_state leads to.
        """
        row = await assign_async(self._conn, submission_id, PetitionState(expected_state).value, PetitionState(new_state).value)
        columns: dict[str, Any] = row._asdict()
        columns["state"] = PetitionState(row.state)
        return PetitionSubmission(**columns)
