/*-------------------------------------------------------------------------
 *
 * statement.c
 *	  Statements that we prepare: operators that no search_path chooses, plans
 *	  that are kept, and work in subtransactions.
 *
 * A kept plan is found by the OID of the relation that it is about, by its text
 * and by the types of its parameters.  The text names schemas, relations, columns
 * and operators in full, as they are at present: after a rename it is another
 * text, and so another plan.  A plan whose text is right but whose tables have
 * changed below it is made anew by the server's plan cache.  What remains is a
 * rename between the writing of a text and its execution: so each plan, when it
 * has been executed, must have been about the relation that was meant.
 *
 * Memory: plans live in CacheMemoryContext, at most MAX_PLANS, and the one not
 * used for longest goes first.  One in use is never freed, since functions and
 * triggers that its statement calls may call us again.  Who uses one gives it back
 * when he is done; after an error nobody does, and the plan counts as used until
 * the transaction ends, which no call of ours outlives.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_operator.h"
#include "common/hashfn.h"
#include "lib/ilist.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "session.h"
#include "statement.h"

#define MAX_PLANS	1000

typedef struct PlanKey
{
	uint64		hash;			/* of text and types */
	Oid			relid;
	uint32		nparameters;	/* no byte of a key is left undefined */
} PlanKey;

struct KeptPlan
{
	PlanKey		key;
	dlist_node	node;			/* in plans_by_use */
	int			users;			/* calls that hold it */
	bool		stale;			/* to be made anew */
	char	   *sql;
	Oid		   *types;
	SPIPlanPtr	spi;			/* NULL if making it failed */
};

static HTAB *plans = NULL;
static int	users = 0;			/* of all plans */
static uint64 changes = 1;		/* how often one was dropped or replaced */

/* What somebody may still be executing although it was replaced */
static List *retired = NIL;

/* The plans, the most recently used first */
static dlist_head plans_by_use = DLIST_STATIC_INIT(plans_by_use);

/*
 * Appends an operator so that no search_path decides which it is.
 */
void
append_operator(StringInfo query, Oid operator)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;
	char	   *schema;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", operator);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	schema = get_namespace_name(form->oprnamespace);
	if (schema == NULL)
		elog(ERROR, "cache lookup failed for schema %u", form->oprnamespace);
	appendStringInfo(query, " OPERATOR(%s.%s) ", quote_identifier(schema), NameStr(form->oprname));
	ReleaseSysCache(tuple);
}

/*
 * Raises 55000 if a plan, as it was just executed, was not about the relation
 * that was meant, but about others: the names in its text were right before,
 * but somebody may have renamed schemas or relations since.  One that a rule
 * made nothing of is about none, which is no error here.
 */
void
check_plan_relation(SPIPlanPtr plan, Oid relid)
{
	List	   *sources = SPI_plan_get_plan_sources(plan);
	CachedPlanSource *source;

	if (sources == NIL)
		elog(ERROR, "plan has no statement");
	source = linitial(sources);
	if (source->query_list != NIL && !list_member_oid(source->relationOids, relid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation %u was renamed while a statement on it was prepared", relid),
				 errhint("Nothing was changed. Try again.")));
}

/* ----------------------------------------------------------------------
 * Kept plans
 * ----------------------------------------------------------------------
 */

/*
 * Transaction callback: nobody uses a plan any more.
 */
static void
forget_users(XactEvent event, void *arg)
{
	ListCell   *cell;
	dlist_iter	iterator;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	foreach(cell, retired)
		SPI_freeplan(lfirst(cell));
	list_free(retired);
	retired = NIL;
	if (users == 0)
		return;
	users = 0;
	dlist_foreach(iterator, &plans_by_use)
		dlist_container(KeptPlan, node, iterator.cur)->users = 0;
}

/*
 * Sets up the cache of plans; called once, when the module is loaded.
 */
void
statement_init(void)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(PlanKey);
	control.entrysize = sizeof(KeptPlan);
	plans = hash_create("petition_cas plans", 64, &control, HASH_ELEM | HASH_BLOBS);
	RegisterXactCallback(forget_users, NULL);
}

/*
 * Completes a statement whose other members are set by the hash by which its
 * plan is found.
 */
void
statement_hash(Statement *statement)
{
	statement->hash = hash_bytes_extended((const unsigned char *) statement->sql,
										  strlen(statement->sql),
										  hash_bytes_extended((const unsigned char *) statement->types,
															  statement->nparameters * sizeof(Oid), 0));
}

/*
 * Frees what a plan consists of, or lets it be freed when nobody can be executing
 * it any more.
 */
static void
empty_plan(KeptPlan *plan)
{
	if (plan->spi != NULL && plan->users > 0)
	{
		MemoryContext caller = MemoryContextSwitchTo(CacheMemoryContext);

		retired = lappend(retired, plan->spi);
		MemoryContextSwitchTo(caller);
	}
	else if (plan->spi != NULL)
		SPI_freeplan(plan->spi);
	if (plan->sql != NULL)
		pfree(plan->sql);
	if (plan->types != NULL)
		pfree(plan->types);
	plan->spi = NULL;
	plan->sql = NULL;
	plan->types = NULL;
}

/*
 * Drops the plans that are too many, but none that is in use.
 */
static void
drop_surplus_plans(void)
{
	dlist_node *node = dlist_is_empty(&plans_by_use) ? NULL : dlist_tail_node(&plans_by_use);

	while (node != NULL && hash_get_num_entries(plans) >= MAX_PLANS)
	{
		KeptPlan   *plan = dlist_container(KeptPlan, node, node);

		node = dlist_has_prev(&plans_by_use, node) ? dlist_prev_node(&plans_by_use, node) : NULL;
		if (plan->users > 0)
			continue;
		changes++;
		empty_plan(plan);
		dlist_delete(&plan->node);
		hash_search(plans, &plan->key, HASH_REMOVE, NULL);
	}
}

/*
 * Makes a plan for a statement.
 */
static void
fill_plan(KeptPlan *plan, const Statement *statement)
{
	SPIPlanPtr	spi;

	empty_plan(plan);
	plan->sql = MemoryContextStrdup(CacheMemoryContext, statement->sql);
	plan->types = MemoryContextAlloc(CacheMemoryContext,
									 Max(statement->nparameters, 1) * sizeof(Oid));
	memcpy(plan->types, statement->types, statement->nparameters * sizeof(Oid));
	spi = SPI_prepare_cursor(plan->sql, statement->nparameters, plan->types, statement->options);
	if (spi == NULL)
		elog(ERROR, "SPI_prepare_cursor failed for \"%s\": %s",
			 plan->sql, SPI_result_code_string(SPI_result));
	if (SPI_keepplan(spi) != 0)
		elog(ERROR, "SPI_keepplan failed for \"%s\"", plan->sql);
	plan->spi = spi;
	plan->stale = false;
}

/*
 * Returns the entry of a statement's plan, whose plan may be still to be made.
 */
static KeptPlan *
find_plan(const Statement *statement)
{
	PlanKey		key = {statement->hash, statement->relid, statement->nparameters};
	KeptPlan   *plan = hash_search(plans, &key, HASH_FIND, NULL);

	if (plan == NULL)
	{
		drop_surplus_plans();
		plan = hash_search(plans, &key, HASH_ENTER, NULL);
		memset((char *) plan + sizeof(PlanKey), 0, sizeof(KeptPlan) - sizeof(PlanKey));
		dlist_push_head(&plans_by_use, &plan->node);
	}
	return plan;
}

/*
 * Returns the plan of a statement, made now or kept from before, in use until
 * it is released or the transaction ends.  Connected to SPI.
 */
KeptPlan *
acquire_plan(Statement *statement)
{
	KeptPlan   *plan = statement->plan;

	/* nothing has been dropped or replaced since it was found */
	if (plan == NULL || statement->found != changes || plan->key.relid != statement->relid)
		plan = find_plan(statement);
	if (plan->spi == NULL || plan->stale ||
		(statement->found != changes &&
		 (strcmp(plan->sql, statement->sql) != 0 ||
		  memcmp(plan->types, statement->types, statement->nparameters * sizeof(Oid)) != 0)))
	{
		changes++;
		fill_plan(plan, statement);
	}
	statement->plan = plan;
	statement->found = changes;
	dlist_move_head(&plans_by_use, &plan->node);
	plan->users++;
	users++;
	return plan;
}

/*
 * Returns a plan as SPI knows it, which is there until the transaction ends.
 */
SPIPlanPtr
plan_of(const KeptPlan *plan)
{
	return plan->spi;
}

/*
 * Gives a plan back.
 */
void
release_plan(KeptPlan *plan)
{
	plan->users--;
	users--;
}

/*
 * Is a plan, as it was just executed, about a relation?  Raises 55000 if it
 * used another one.  Returns false if a rule made something else of it.
 */
static bool
is_about_relation(SPIPlanPtr plan, Oid relid)
{
	CachedPlanSource *source;
	ListCell   *cell;

	check_plan_relation(plan, relid);
	source = linitial(SPI_plan_get_plan_sources(plan));
	foreach(cell, source->query_list)
	{
		Query	   *query = lfirst_node(Query, cell);

		if (query->canSetTag)
			return query->resultRelation == 0 ||
				rt_fetch(query->resultRelation, query->rtable)->relid == relid;
	}
	return false;
}

/*
 * Executes a statement, with its plan kept; connected to SPI.  Without a
 * snapshot it sees what is committed now, or the transaction's snapshot; with
 * one, that and the transaction's own changes so far.  Returns the number of
 * rows, which are in SPI_tuptable if it returns any.  What a rule does instead
 * does not count.
 */
uint64
execute_kept(Statement *statement, Datum *values, const char *nulls, Snapshot snapshot,
			 bool fire_triggers)
{
	KeptPlan   *plan = acquire_plan(statement);
	SPIPlanPtr	spi = plan->spi;
	int			result = SPI_execute_snapshot(spi, values, nulls, snapshot, InvalidSnapshot,
											  false, fire_triggers, 0);
	uint64		processed = SPI_processed;

	if (result < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(result));

	/* the plan of a rule may depend on nothing, so that it would outlive that */
	plan->stale = true;
	if (is_about_relation(spi, statement->relid))
		plan->stale = false;
	else
		processed = 0;
	release_plan(plan);
	return processed;
}

/* ----------------------------------------------------------------------
 * Statements that are executed once
 * ----------------------------------------------------------------------
 */

/*
 * Executes a statement under the latest snapshot, whatever the isolation level;
 * connected to SPI.  Returns the number of rows, which are in SPI_tuptable if it
 * returns any.
 */
uint64
execute_latest(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	SPIPlanPtr	plan = SPI_prepare(sql, nargs, types);
	Snapshot	latest;
	int			result;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed for \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	latest = RegisterSnapshot(GetLatestSnapshot());
	result = SPI_execute_snapshot(plan, values, nulls, latest, InvalidSnapshot, false, true, 0);
	UnregisterSnapshot(latest);
	if (result < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(result));
	return SPI_processed;
}

/*
 * Executes a command that returns no rows, which the DDL guard lets pass as
 * our own; connected to SPI.
 */
void
execute_own_ddl(const char *command)
{
	volatile int result = 0;

	petition_cas_own_ddl = true;
	PG_TRY();
	{
		result = SPI_execute(command, false, 0);
	}
	PG_FINALLY();
	{
		petition_cas_own_ddl = false;
	}
	PG_END_TRY();
	if (result < 0)
		elog(ERROR, "SPI_execute failed for \"%s\": %s", command, SPI_result_code_string(result));
}

/* ----------------------------------------------------------------------
 * Subtransactions
 * ----------------------------------------------------------------------
 */

/*
 * Calls a function in a subtransaction.  Returns NULL, or, with all that the
 * function did undone, the error that it raised, in the current memory
 * context.
 */
ErrorData *
call_in_subtransaction(void (*function) (void *), void *argument)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		function(argument);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}
