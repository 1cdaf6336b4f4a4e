/*-------------------------------------------------------------------------
 *
 * claim.c
 *	  Locking the members of a roster.
 *
 * A locking query finds members under a snapshot and then locks each row,
 * perhaps after waiting for somebody who changes it.  A row that no longer
 * matches then is left out; but one that came to match meanwhile, as the new
 * place of an animal that was moved, is not found.  So the members are read again
 * under a newer snapshot, and locked again if one of them is not locked yet, until all
 * of them are: then the set is complete as of that snapshot.  Where no other
 * transaction has ended since before the first query, a newer snapshot would see
 * the same, and that query was enough.
 *
 * Only the first query waits for locks.  It takes them in key order, so that
 * claims do not deadlock; a row found later may come before rows that are
 * locked already, and to wait for it could close a circle.  When a later locking
 * query would have to wait, all locks are let go and everything starts
 * again.  For that the locks are taken in a subtransaction: rolling it back
 * is the only way to let go of a row's lock.
 *
 * At REPEATABLE READ and above all snapshots are the transaction's; that a
 * member was changed since shows as the server's 40001.
 *
 * The server passes a locking clause on a view down to the tables in its FROM,
 * and those of views in it.  It refuses some views, without saying which view of
 * several it is, and of others it locks less than a claim promises, or nothing:
 * all of these are refused here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "claim.h"
#include "compat.h"
#include "errors.h"
#include "shard.h"
#include "statement.h"

/* An attempt to lock the members of a roster. */
typedef struct Claim
{
	RosterQuery *query;
	MemoryContext context;		/* of the sets */
	IdSet	   *members;		/* found and locked by the latest query */
	uint64		rows;			/* in which it found them */
	IdSet	   *unlocked;		/* seen after it, but not locked; NULL if none */
	bool		waiting;		/* may the running query wait? */
} Claim;

static bool check_relation(Oid oid);
static bool check_query(Relation view, Query *query);

/*
 * Raises 0A000 naming the relation and what in it stands against locking.
 */
pg_noreturn static void
not_lockable(const char *relation, const char *culprit)
{
	StringInfoData detail;

	detail_begin(&detail);
	detail_text(&detail, "relation", relation);
	detail_text(&detail, "culprit", culprit);
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot lock the rows of \"%s\" because of its %s", relation, culprit),
			 errdetail_internal("%s", detail_end(&detail)),
			 errhint("Claim from a table, or from a view that only filters and inner joins tables.")));
}

/*
 * Names what of a view's query stands against locking its rows; returns NULL
 * if nothing does.  A subquery in an expression, or in WITH, is not wrong for
 * the server, but its rows would stay unlocked, and could take members away.
 * With a volatile function each look may find other members, without end.
 */
static const char *
find_culprit(const Query *query)
{
	if (query->setOperations != NULL)
	{
		switch (castNode(SetOperationStmt, query->setOperations)->op)
		{
			case SETOP_UNION:
				return "UNION";
			case SETOP_INTERSECT:
				return "INTERSECT";
			default:
				return "EXCEPT";
		}
	}
	if (query->distinctClause != NIL)
		return "DISTINCT";
	if (query->groupClause != NIL || query->groupingSets != NIL)
		return "GROUP BY";
	if (query->hasAggs || query->havingQual != NULL)
		return "aggregate function";
	if (query->hasWindowFuncs)
		return "window function";
	if (query->hasTargetSRFs)
		return "set-returning function in the select list";
	if (query->limitCount != NULL)
		return "LIMIT";
	if (query->limitOffset != NULL)
		return "OFFSET";
	if (query->cteList != NIL)
		return "WITH";
	if (query->hasSubLinks)
		return "subquery in an expression";
	if (contain_volatile_functions((Node *) query))
		return "volatile function";
	return NULL;
}

/*
 * Checks a node of a view's FROM, or of that of a subquery in it; returns
 * whether rows get locked by it: functions and VALUES have no rows to lock.
 */
static bool
check_from(Relation view, const Query *query, Node *node)
{
	bool		locks = false;

	check_stack_depth();
	if (IsA(node, RangeTblRef))
	{
		RangeTblEntry *entry = rt_fetch(((RangeTblRef *) node)->rtindex, query->rtable);

		if (entry->tablesample != NULL)
			not_lockable(RelationGetRelationName(view), "TABLESAMPLE");
		if (entry->rtekind == RTE_RELATION)
			return check_relation(entry->relid);
		if (entry->rtekind == RTE_SUBQUERY)
			return check_query(view, entry->subquery);
	}
	else if (IsA(node, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) node;

		if (join->jointype != JOIN_INNER)
			not_lockable(RelationGetRelationName(view), "outer join");
		locks |= check_from(view, query, join->larg);
		locks |= check_from(view, query, join->rarg);
	}
	else
	{
		ListCell   *cell;

		foreach(cell, castNode(FromExpr, node)->fromlist)
			locks |= check_from(view, query, lfirst(cell));
	}
	return locks;
}

/*
 * Checks the query of a view, or a subquery in it; returns whether it locks
 * any rows.
 */
static bool
check_query(Relation view, Query *query)
{
	const char *culprit = find_culprit(query);

	if (culprit != NULL)
		not_lockable(RelationGetRelationName(view), culprit);
	return check_from(view, query, (Node *) query->jointree);
}

/*
 * Checks a table or view; returns whether it locks any rows.  A table may have
 * no foreign table among its partitions and children.  The definition stays
 * locked until the transaction ends.
 */
static bool
check_relation(Oid oid)
{
	Relation	relation = relation_open(oid, AccessShareLock);
	const char *name = RelationGetRelationName(relation);
	bool		locks = true;
	ListCell   *cell;

	check_stack_depth();
	switch (relation->rd_rel->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			if (!relation->rd_rel->relhassubclass)
				break;
			foreach(cell, find_all_inheritors(oid, AccessShareLock, NULL))
			{
				if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_FOREIGN_TABLE)
					not_lockable(get_rel_name(lfirst_oid(cell)), "being a foreign table");
			}
			break;
		case RELKIND_VIEW:
			locks = check_query(relation, get_view_query(relation));
			break;
		case RELKIND_MATVIEW:
			not_lockable(name, "being a materialized view");
		case RELKIND_FOREIGN_TABLE:
			not_lockable(name, "being a foreign table");
		default:
			not_lockable(name, "being neither a table nor a view");
	}
	relation_close(relation, NoLock);
	return locks;
}

/*
 * Finds out whether the set that was locked is the roster: reads that under a newer
 * snapshot, without locks, and if all of it is locked, takes it for the set.  What a
 * locking query did not find anew is no sign of that: a row that its snapshot had, and
 * that changed before it was locked, is left out in silence, while the one that took its
 * place is in no snapshot looked at so far.  Raises 42501 if row security lets rows be
 * seen that it does not let be locked.
 */
static bool
is_complete(Claim *claim)
{
	IdSet	   *before = claim->unlocked;
	IdSet	   *seen;

	PushActiveSnapshot(GetTransactionSnapshot());
	seen = roster_query_run(claim->query, ROSTER_READ);
	PopActiveSnapshot();

	claim->unlocked = idset_difference(seen, claim->members);
	/* what is locked cannot leave, so as many rows are the same ones */
	if (idset_count(claim->unlocked) == 0 &&
		(claim->query->row_security || claim->query->rows == claim->rows))
	{
		idset_free(claim->members);
		claim->members = seen;
		return true;
	}
	idset_free(seen);
	if (claim->query->row_security && before != NULL &&
		idset_count(idset_difference(claim->unlocked, before)) < idset_count(claim->unlocked))
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
	return false;
}

/*
 * Counts the transactions that have ended and had changed anything, of all
 * databases: two snapshots with the same count see the same, but for this
 * transaction's own changes.
 */
static uint64
ended_transactions(void)
{
	return GetTransactionSnapshot()->snapXactCompletionCount;
}

/*
 * Locks the members until all that a newer snapshot has are locked, for
 * call_in_subtransaction.  Where the moment is the clock's, it has to be that after
 * locking, and so there is always a second query.
 */
static void
lock_members(void *argument)
{
	Claim	   *claim = argument;
	uint64		ended;

	MemoryContextSwitchTo(claim->context);
	ended = ended_transactions();
	claim->waiting = true;
	claim->members = roster_query_run(claim->query, ROSTER_LOCK);
	claim->waiting = false;
	claim->rows = claim->query->rows;

	/* A transaction that has one snapshot sees the same in any case. */
	if (claim->query->now_param < 0 && !claim->query->row_security &&
		(IsolationUsesXactSnapshot() || ended == ended_transactions()))
		return;
	while (!is_complete(claim))
	{
		CHECK_FOR_INTERRUPTS();
		idset_free(claim->members);
		claim->members = roster_query_run(claim->query, ROSTER_LOCK_NOWAIT);
		claim->rows = claim->query->rows;
	}
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
	if (!check_relation(query->source))
		not_lockable(query->source_name, "FROM without a table");
	for (;;)
	{
		Claim		claim = {.query = query};
		ErrorData  *error;

		CHECK_FOR_INTERRUPTS();
		claim.context = AllocSetContextCreate(CurrentMemoryContext, "petition_cas claim",
											  ALLOCSET_DEFAULT_SIZES);
		error = call_in_subtransaction(lock_members, &claim);
		if (error == NULL)
			return claim.members;

		MemoryContextDelete(claim.context);
		if (is_row_conflict(error))
		{
			if (IsolationUsesXactSnapshot())
				return NULL;
			/* a row that was waited for has moved to another partition */
			FreeErrorData(error);
			continue;
		}
		if (error->sqlerrcode == ERRCODE_FEATURE_NOT_SUPPORTED && has_citus())
			error->hint = pstrdup("Citus locks rows of one shard in a statement. Name the distribution column in the filter; or keep the table in a distributed schema; or call validate_roster and then the set form, which judges each row.");
		/* if somebody else holds a new member, we begin again */
		if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE || claim.waiting)
			ReThrowError(error);
		FreeErrorData(error);
	}
}
