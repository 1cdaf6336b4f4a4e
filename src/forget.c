/*-------------------------------------------------------------------------
 *
 * forget.c
 *	  Replace an actor's name in ledgers and histories: forget_actor.
 *
 * A name may have to go, by law or because its bearer wishes it, while what was decided
 * stays.  The triggers of ledger and history let this one change pass; see history.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "history.h"
#include "identity.h"
#include "session.h"
#include "shard.h"
#include "soundness.h"
#include "verify.h"

PG_FUNCTION_INFO_V1(forget_actor);

/*
 * Returns an argument that names an actor; raises 22004 for null, and 22023 for one that
 * could not have been recorded.
 */
static char *
actor_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	char	   *actor = get_text_argument(fcinfo, argument, name);

	check_setting(name, actor, ACTOR_LIMIT);
	if (actor[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be empty", name),
				 errhint("An empty name is never recorded: the session's user is then.")));
	return actor;
}

/*
 * Replaces the name in a ledger or history, which is locked; returns in how many rows.
 * Raises 0A000 if it is distributed: the triggers on its shards do not know who changes
 * it.
 */
static uint64
forget_in(Oid record_oid, const char *actor, const char *pseudonym)
{
	Relation	record = table_open(record_oid, NoLock);
	uint64		count;

	if (is_distributed(record_oid))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("forget_actor does not work on the distributed relation \"%s\"",
						RelationGetRelationName(record)),
				 errhint("UPDATE it in a transaction that begins with, each as a command of its own: SET LOCAL citus.propagate_set_commands = 'local'; SET LOCAL petition_cas.allow_unguard = on. Who does that needs GRANT SET ON PARAMETER petition_cas.allow_unguard on each node.")));
	SPI_connect();
	count = rewrite_actor(record, actor, pseudonym);
	SPI_finish();
	table_close(record, NoLock);
	return count;
}

/*
 * forget_actor(relation, actor, pseudonym, state_column) returns in how many rows of the
 * ledgers and histories of a table, or of those of one lifecycle, it has replaced the
 * name.
 */
Datum
forget_actor(PG_FUNCTION_ARGS)
{
	char	   *actor;
	char	   *pseudonym;
	Relation	relation;
	Identity	caller;
	List	   *guards;
	ListCell   *cell;
	uint64		count = 0;

	check_not_null(fcinfo, 0, "relation");
	actor = actor_argument(fcinfo, 1, "actor");
	pseudonym = actor_argument(fcinfo, 2, "pseudonym");
	PreventCommandIfReadOnly("forget_actor()");
	relation = open_owned_relation(PG_GETARG_OID(0), AccessShareLock);
	check_governed_root(relation);

	caller = become_owner(relation);
	guards = guards_of_lifecycles(relation, get_name_argument(fcinfo, 3));
	foreach(cell, guards)
	{
		Governed   *governed = get_governed_by(relation, lfirst_oid(cell));
		Oid			ledger = check_sound(governed, relation);
		Oid			history = governed->history_oid;

		count += forget_in(ledger, actor, pseudonym);
		if (OidIsValid(history))
			count += forget_in(history, actor, pseudonym);
	}
	become_caller_again(caller);
	relation_close(relation, NoLock);
	PG_RETURN_INT64((int64) count);
}
