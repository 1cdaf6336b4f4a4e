/*-------------------------------------------------------------------------
 *
 * roster_claim.c
 *	  Locking the members of a roster.
 *
 * A locking query finds members under a snapshot and then locks each row,
 * perhaps after waiting for somebody who changes it.  A row that no longer
 * matches then is left out; but one that came to match meanwhile, as the new
 * place of an animal that was moved, is not found.  So the query runs again
 * under a newer snapshot, until it finds nothing new: then every row of the
 * set is locked, and the set is complete as of that snapshot.
 *
 * Only the first query waits for locks.  It takes them in key order, so that
 * claims do not deadlock; a row found later may come before rows that are
 * locked already, and to wait for it could close a circle.  When a later
 * query would have to wait, all locks are let go and everything starts
 * again.  For that the locks are taken in a subtransaction: rolling it back
 * is the only way to let go of a row's lock.
 *
 * At REPEATABLE READ and above all snapshots are the transaction's; that a
 * member was changed since shows as the server's 40001.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "errors.h"
#include "lockable.h"
#include "roster_claim.h"

/* A claim in progress. */
typedef struct Claim
{
	RosterQuery *query;
	IdSet	   *members;		/* found and locked by the latest query */
	IdSet	   *unlocked;		/* seen after it, but not locked; NULL if none */
	bool		waiting;		/* may the running query wait? */
} Claim;

/* How an attempt ended. */
typedef enum ClaimOutcome
{
	CLAIM_DONE,
	CLAIM_AGAIN,				/* somebody else holds a new member */
	CLAIM_CHANGED				/* a member changed after our only snapshot */
} ClaimOutcome;

/*
 * Raises 42501 for members that can be seen and not locked.
 */
pg_noreturn static void
cannot_lock(const Claim *claim)
{
	StringInfoData detail;

	detail_begin(&detail);
	idset_detail(&detail, "not_lockable", claim->unlocked);
	detail_number(&detail, "not_lockable_count", idset_count(claim->unlocked));
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("row security hides members of the roster of \"%s\" from locking",
					claim->query->source_name),
			 errdetail_internal("%s", detail_end(&detail)),
			 errhint("The row security policies for UPDATE must allow all rows that those for SELECT allow.")));
}

/*
 * Where row security takes part, a locking query leaves out without a word
 * the rows that its policies for UPDATE hide.  Looks for members that can be
 * seen and were not locked; returns whether there are none.  They may have
 * joined meanwhile; the same one missed twice in a row is hidden: 42501.
 */
static bool
all_locked(Claim *claim)
{
	IdSet	   *before = claim->unlocked;
	IdSet	   *seen;

	claim->unlocked = NULL;
	if (!claim->query->row_security)
		return true;

	PushActiveSnapshot(GetTransactionSnapshot());
	seen = roster_query_run(claim->query, ROSTER_READ);
	PopActiveSnapshot();

	claim->unlocked = idset_difference(seen, claim->members);
	if (idset_count(claim->unlocked) == 0)
		return true;
	if (before != NULL &&
		idset_count(idset_difference(claim->unlocked, before)) < idset_count(claim->unlocked))
		cannot_lock(claim);
	return false;
}

/*
 * Locks the members until no query finds a new one.
 */
static void
lock_members(Claim *claim)
{
	bool		settled;

	claim->unlocked = NULL;
	claim->waiting = true;
	claim->members = roster_query_run(claim->query, ROSTER_LOCK);
	claim->waiting = false;
	do
	{
		IdSet	   *before = claim->members;

		CHECK_FOR_INTERRUPTS();
		claim->members = roster_query_run(claim->query, ROSTER_LOCK_NOWAIT);
		settled = idset_count(idset_difference(claim->members, before)) == 0;
		idset_free(before);
		settled &= all_locked(claim);
	} while (!settled);
}

/*
 * Judges an error of an attempt, which is rolled back.  Returns what comes
 * next, or raises the error again.
 */
static ClaimOutcome
judge_error(const Claim *claim, ErrorData *error)
{
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE && !claim->waiting)
		return CLAIM_AGAIN;
	if (IsolationUsesXactSnapshot() && is_row_conflict(error))
		return CLAIM_CHANGED;
	ReThrowError(error);
}

/*
 * Tries to lock the members, in a subtransaction.
 */
static ClaimOutcome
try_claim(Claim *claim)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext attempt = AllocSetContextCreate(caller, "petition_cas claim",
												  ALLOCSET_DEFAULT_SIZES);
	ResourceOwner owner = CurrentResourceOwner;
	ClaimOutcome volatile outcome = CLAIM_DONE;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(attempt);
	PG_TRY();
	{
		lock_members(claim);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
		MemoryContextDelete(attempt);
		outcome = judge_error(claim, error);
		FreeErrorData(error);
	}
	PG_END_TRY();
	return outcome;
}

/*
 * Locks the members of a roster until the transaction ends, and returns
 * them, as a set below the current memory context.  Returns NULL if a member
 * has changed since the transaction's snapshot was taken, at REPEATABLE READ
 * and above.  Raises 0A000 if the source's rows cannot be locked, 42501 if
 * the caller may not lock them.
 */
IdSet *
roster_claim(RosterQuery *query)
{
	Claim		claim = {.query = query};

	check_lockable(query->source);
	for (;;)
	{
		switch (try_claim(&claim))
		{
			case CLAIM_DONE:
				return claim.members;
			case CLAIM_CHANGED:
				return NULL;
			case CLAIM_AGAIN:
				CHECK_FOR_INTERRUPTS();
		}
	}
}
