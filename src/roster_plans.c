/*-------------------------------------------------------------------------
 *
 * roster_plans.c
 *	  Kept plans for the queries of rosters.
 *
 * A plan is found by the source's OID and by the text of its query, with the
 * parameter types.  The text is built anew for each call from the present
 * schema, name, columns and operators, and names them in full: after a
 * rename it is another text, and so another plan.  Filters of the same shape
 * have the same text, as their values are parameters.  A plan whose text is
 * still right but whose tables have changed below it is made anew by the
 * server's plan cache.
 *
 * Plans live in CacheMemoryContext.  There are at most PLAN_LIMIT, the one
 * not used for longest going first; but a plan in use, which a function
 * called by the query may outlive by calling us again, is never dropped.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/ilist.h"
#include "utils/memutils.h"

#include "roster_plans.h"

#define PLAN_LIMIT	64

struct RosterPlan
{
	dlist_node	node;			/* in plans */
	int			users;			/* calls that hold it */
	uint32		hash;			/* of sql */
	Oid			source;
	char	   *sql;
	int			nargs;
	Oid		   *argtypes;
	SPIPlanPtr	spi;
};

/* The plans, the most recently used first. */
static dlist_head plans = DLIST_STATIC_INIT(plans);
static int	plan_count = 0;

/*
 * Finds a plan; returns NULL if there is none.
 */
static RosterPlan *
find_plan(Oid source, const char *sql, uint32 hash, int nargs, Oid *argtypes)
{
	dlist_iter	iterator;

	dlist_foreach(iterator, &plans)
	{
		RosterPlan *plan = dlist_container(RosterPlan, node, iterator.cur);

		if (plan->hash == hash && plan->source == source && plan->nargs == nargs &&
			memcmp(plan->argtypes, argtypes, nargs * sizeof(Oid)) == 0 &&
			strcmp(plan->sql, sql) == 0)
			return plan;
	}
	return NULL;
}

/*
 * Drops the plans that are too many, but none that is in use.
 */
static void
drop_surplus(void)
{
	dlist_node *node = dlist_is_empty(&plans) ? NULL : dlist_tail_node(&plans);

	while (node != NULL && plan_count >= PLAN_LIMIT)
	{
		RosterPlan *plan = dlist_container(RosterPlan, node, node);

		node = dlist_has_prev(&plans, node) ? dlist_prev_node(&plans, node) : NULL;
		if (plan->users > 0)
			continue;
		dlist_delete(&plan->node);
		plan_count--;
		SPI_freeplan(plan->spi);
		pfree(plan->sql);
		pfree(plan->argtypes);
		pfree(plan);
	}
}

/*
 * Makes a plan.  It is kept only when nothing can fail any more.
 */
static RosterPlan *
make_plan(Oid source, const char *sql, uint32 hash, int nargs, Oid *argtypes, int options)
{
	SPIPlanPtr	spi = SPI_prepare_cursor(sql, nargs, argtypes, options);
	MemoryContext caller;
	RosterPlan *plan;

	if (spi == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));

	caller = MemoryContextSwitchTo(CacheMemoryContext);
	plan = palloc0(sizeof(RosterPlan));
	plan->source = source;
	plan->hash = hash;
	plan->nargs = nargs;
	plan->argtypes = palloc(Max(nargs, 1) * sizeof(Oid));
	memcpy(plan->argtypes, argtypes, nargs * sizeof(Oid));
	plan->sql = pstrdup(sql);
	MemoryContextSwitchTo(caller);

	if (SPI_keepplan(spi) != 0)
		elog(ERROR, "SPI_keepplan failed");
	plan->spi = spi;
	dlist_push_head(&plans, &plan->node);
	plan_count++;
	return plan;
}

/*
 * Returns a plan for a query on a source, made now or kept from before; SPI
 * must be connected.  The caller must release it, after an error too.
 */
RosterPlan *
roster_plan_acquire(Oid source, const char *sql, int nargs, Oid *argtypes, int options)
{
	uint32		hash = hash_bytes((const unsigned char *) sql, strlen(sql));
	RosterPlan *plan = find_plan(source, sql, hash, nargs, argtypes);

	if (plan == NULL)
	{
		drop_surplus();
		plan = make_plan(source, sql, hash, nargs, argtypes, options);
	}
	else
		dlist_move_head(&plans, &plan->node);
	plan->users++;
	return plan;
}

/*
 * Returns the plan as SPI knows it.
 */
SPIPlanPtr
roster_plan_spi(RosterPlan *plan)
{
	return plan->spi;
}

/*
 * Gives a plan back.
 */
void
roster_plan_release(RosterPlan *plan)
{
	plan->users--;
}
