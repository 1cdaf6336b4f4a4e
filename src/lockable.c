/*-------------------------------------------------------------------------
 *
 * lockable.c
 *	  Which tables and views have rows that can be locked.
 *
 * The server passes a locking clause on a view down to the tables in its
 * FROM, and those of views in it.  It refuses some views, without saying
 * which view of several it is, and of others it locks less than a claim
 * promises, or nothing: all of these are refused here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "errors.h"
#include "lockable.h"

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
 * Checks one entry of a view's FROM.  Returns whether rows get locked by it:
 * functions and VALUES have no rows to lock.
 */
static bool
check_entry(Relation view, const RangeTblEntry *entry)
{
	if (entry->tablesample != NULL)
		not_lockable(RelationGetRelationName(view), "TABLESAMPLE");
	if (entry->rtekind == RTE_RELATION)
		return check_relation(entry->relid);
	if (entry->rtekind == RTE_SUBQUERY)
		return check_query(view, entry->subquery);
	return false;
}

/*
 * Checks a node of a view's FROM; returns whether rows get locked by it.
 */
static bool
check_from(Relation view, const Query *query, Node *node)
{
	bool		locks = false;

	check_stack_depth();
	if (IsA(node, RangeTblRef))
		return check_entry(view, rt_fetch(((RangeTblRef *) node)->rtindex, query->rtable));
	if (IsA(node, JoinExpr))
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
 * Checks that no partition or child of a table is a foreign table.
 */
static void
check_children(Relation table)
{
	ListCell   *cell;

	if (!table->rd_rel->relhassubclass)
		return;
	foreach(cell, find_all_inheritors(RelationGetRelid(table), AccessShareLock, NULL))
	{
		Oid			child = lfirst_oid(cell);

		if (get_rel_relkind(child) == RELKIND_FOREIGN_TABLE)
			not_lockable(get_rel_name(child), "being a foreign table");
	}
}

/*
 * Checks a table or view; returns whether it locks any rows.  Its definition
 * stays locked until the transaction ends.
 */
static bool
check_relation(Oid oid)
{
	Relation	relation = relation_open(oid, AccessShareLock);
	const char *name = RelationGetRelationName(relation);
	bool		locks = true;

	check_stack_depth();
	switch (relation->rd_rel->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			check_children(relation);
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
 * Checks that each row that a claim on this table or view would find can be
 * locked.  Raises 0A000 if not.
 */
void
check_lockable(Oid source)
{
	if (!check_relation(source))
		not_lockable(get_rel_name(source), "FROM without a table");
}
