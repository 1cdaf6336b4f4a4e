"""The demo: `python3 demo.py`, or one decision:

python3 demo.py decide|decide_async RELATION KEY EXPECTED_STATE NEW_STATE REQUEST_ID
"""

import asyncio
import sys
import uuid

import psycopg

from petition_cas import FateError, Roster, RosterChanged
from petition_cas_psycopg import assign, claim, decide, decide_async, swap, swap_many
from petition_submissions import PetitionAlreadyFatedError, PetitionState, PetitionSubmissionRepository


def petition(n):
    return uuid.UUID(f"00000000-0000-4000-8000-00000000000{n}")


def show(what, call):
    """Print what a call returned, or what its loser was told."""
    try:
        print(f"{what}: {call().state}")
    except RosterChanged as error:
        print(f"{what}: RosterChanged, added {error.added}, removed {error.removed}")
    except FateError as error:
        print(f"{what}: {type(error).__name__}, found {error.current_state}, which leads to {error.allowed}")


def resolve(conn, filter):
    return Roster(*conn.execute("SELECT * FROM resolve_roster('petition_submissions', %s)", (filter,)).fetchone())


def demo(conn):
    show("assign", lambda: assign(conn, petition(1), "RECEIVED", "ACKNOWLEDGED", reason="agreed"))
    show("again", lambda: assign(conn, petition(1), "RECEIVED", "ACKNOWLEDGED"))
    show("not what it is", lambda: assign(conn, petition(2), "DELIBERATING", "REFERRED"))
    show("not there", lambda: assign(conn, petition(9), "RECEIVED", "ACKNOWLEDGED"))
    show("no way", lambda: swap(conn, "parcels", [7, 1], "packing", "delivered"))
    seen = conn.execute("SELECT evidence_hash(p) FROM payments p WHERE id = 1").fetchone()[0]
    conn.execute("UPDATE payments SET amount = 9950 WHERE id = 1")
    show("what was seen", lambda: swap(conn, "payments", 1, "pending", "approved", seen_hash=seen))
    for outcome in swap_many(conn, "parcels", [[7, 1], {"id": 2, "tenant": 7}, [7, 9]], "packing", "shipped"):
        print(f"many: {outcome.key} {outcome.outcome} {outcome.current_state}")

    filter = "state:RECEIVED realm:north"
    roster = resolve(conn, filter)
    assign(conn, petition(4), "RECEIVED", "ACKNOWLEDGED")
    show("claim", lambda: claim(conn, "petition_submissions", filter, roster))
    roster = resolve(conn, filter)
    with conn.transaction():
        claimed = claim(conn, "petition_submissions", filter, roster)
        outcomes = swap_many(conn, "petition_submissions", claimed.ids, "RECEIVED", "ACKNOWLEDGED")
    print(f"claimed and decided: {len([o for o in outcomes if o.outcome == 'assigned'])}")
    print(f"decide: {decide(psycopg.connect, 'payments', 2, 'pending', 'approved', reason='due').state}")


async def demo_async():
    async with await psycopg.AsyncConnection.connect() as conn:
        repository = PetitionSubmissionRepository(conn)
        submission = await repository.assign_fate_cas(petition(3), PetitionState.RECEIVED, PetitionState.ACKNOWLEDGED)
        print(f"async: {submission.state.value}")
        try:
            await repository.assign_fate_cas(petition(3), PetitionState.RECEIVED, PetitionState.ACKNOWLEDGED)
        except PetitionAlreadyFatedError as error:
            print(f"async: {error}")


def main():
    if sys.argv[1:2] == ["decide"]:
        relation, key, expected, new, request_id = sys.argv[2:]
        print(decide(psycopg.connect, relation, key, expected, new, request_id=request_id).state)
    elif sys.argv[1:2] == ["decide_async"]:
        relation, key, expected, new, request_id = sys.argv[2:]
        decision = decide_async(psycopg.AsyncConnection.connect, relation, key, expected, new, request_id=request_id)
        print(asyncio.run(decision).state)
    else:
        with psycopg.connect(autocommit=True) as conn:
            demo(conn)
        asyncio.run(demo_async())


if __name__ == "__main__":
    try:
        main()
    except FateError as error:
        sys.exit(f"{type(error).__name__}: {error}")
