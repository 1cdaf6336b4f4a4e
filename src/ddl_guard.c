/*-------------------------------------------------------------------------
 *
 * ddl_guard.c
 *	  The event triggers that keep DDL from weakening a governed table.
 *
 * What is governed is found through the triggers that call our functions, and
 * through their arguments; nothing is remembered between commands.
 *
 * A restore builds governed tables step by step, and with several jobs in any
 * order: for a while a guard is not ENABLE ALWAYS, its ledger has no trigger
 * or a table no key.  So a command is judged by what it could take away, not
 * by whether the whole is complete: a drop by what it dropped, an ALTER TABLE
 * by the subcommands it has, and only what no command of a restore leaves
 * behind (a guard under another name or with a condition, say) is refused
 * wherever it is met.
 *
 * The functions read catalogs and the current command alone; they run with
 * the rights of whoever issued the command, and need none.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "errors.h"
#include "govern.h"
#include "governed.h"
#include "petition_cas.h"

PG_FUNCTION_INFO_V1(guard_ddl);
PG_FUNCTION_INFO_V1(guard_drop);

/* What is being judged */
typedef struct Event
{
	Node	   *command;
	Oid			guard_fate;		/* the function */
	bool		has_guards;		/* have the guards been looked up? */
	List	   *guards;			/* all of the database, as GuardTriggers */
} Event;

static void check_relation(Oid relid, Event *event);

#define UNGOVERN_HINT \
	"Call ungovern, alter the table and its ledger, and govern again."

/*
 * Starts to judge an event: checks that the function was called by the event
 * trigger that it is for (39P03).  Returns false if there is nothing to judge,
 * because the DDL is our own, or because a superuser has said so.
 */
static bool
begin_event(FunctionCallInfo fcinfo, const char *function, const char *name, Event *event)
{
	EventTriggerData *call = (EventTriggerData *) fcinfo->context;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo) || strcmp(call->event, name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by an event trigger for %s",
						function, name)));
	if (petition_cas_own_ddl || petition_cas_allow_unguard)
		return false;

	memset(event, 0, sizeof(Event));
	event->command = call->parsetree;
	event->guard_fate = own_function(own_schema(fcinfo), "guard_fate");
	return true;
}

/*
 * Returns all guards of the database, looked up once an event at most.
 */
static List *
all_guards(Event *event)
{
	if (!event->has_guards)
	{
		event->guards = find_guards(event->guard_fate);
		event->has_guards = true;
	}
	return event->guards;
}

/* ----------------------------------------------------------------------
 * What a command does
 * ----------------------------------------------------------------------
 */

/*
 * Has an ALTER TABLE a subcommand that may stop triggers from firing always?
 * ENABLE ALWAYS never does; a restore issues it for each trigger in turn.
 */
static bool
touches_triggers(Node *command)
{
	ListCell   *cell;

	if (IsA(command, CreateTrigStmt))
		return ((CreateTrigStmt *) command)->replace;
	if (!IsA(command, AlterTableStmt))
		return false;
	foreach(cell, ((AlterTableStmt *) command)->cmds)
	{
		switch (lfirst_node(AlterTableCmd, cell)->subtype)
		{
			case AT_EnableTrig:
			case AT_EnableReplicaTrig:
			case AT_EnableTrigAll:
			case AT_EnableTrigUser:
			case AT_DisableTrig:
			case AT_DisableTrigAll:
			case AT_DisableTrigUser:
				return true;
			default:
				break;
		}
	}
	return false;
}

/*
 * Returns the first subcommand of that kind of an ALTER TABLE, or NULL.  With
 * a column, only one on that column counts.
 */
static AlterTableCmd *
find_subcommand(Node *command, AlterTableType subtype, const char *column)
{
	ListCell   *cell;

	if (!IsA(command, AlterTableStmt))
		return NULL;
	foreach(cell, ((AlterTableStmt *) command)->cmds)
	{
		AlterTableCmd *subcommand = lfirst_node(AlterTableCmd, cell);

		if (subcommand->subtype == subtype &&
			(column == NULL || strcmp(subcommand->name, column) == 0))
			return subcommand;
	}
	return NULL;
}

/*
 * Is it a command that gives a relation or a column another name, or a
 * relation another schema?
 */
static bool
moves_names(Node *command)
{
	return IsA(command, RenameStmt) || IsA(command, AlterObjectSchemaStmt);
}

/* ----------------------------------------------------------------------
 * Governed tables
 * ----------------------------------------------------------------------
 */

/*
 * Refuses a trigger that calls our function and is not as govern creates it:
 * under its name, for its events, without a condition; and, if the command
 * could have changed that, ENABLE ALWAYS.
 */
static void
check_own_trigger(Relation relation, const Trigger *trigger, const char *name, int16 type,
				  Node *command)
{
	if (strcmp(trigger->tgname, name) != 0 || trigger->tgtype != type ||
		trigger->tgqual != NULL || trigger->tgnattr > 0 || trigger->tgdeferrable)
		report_protected_relation(relation,
								  "cannot alter the trigger that guards relation \"%s\"",
								  UNGOVERN_HINT);
	if (trigger->tgenabled != TRIGGER_FIRES_ALWAYS && touches_triggers(command))
		report_protected_relation(relation,
								  "cannot disable the trigger that guards relation \"%s\"",
								  "It has to fire always, which ALTER TABLE ... ENABLE TRIGGER ends too. Name your own triggers; to restore data, set session_replication_role to replica.");
}

/*
 * Refuses a trigger of one of our names that calls another function: CREATE OR
 * REPLACE has put it into the place of ours, unless there was none.
 */
static void
check_foreign_trigger(Relation relation, const Trigger *trigger, Node *command)
{
	if (IsA(command, CreateTrigStmt) && ((CreateTrigStmt *) command)->replace &&
		(strcmp(trigger->tgname, GUARD_TRIGGER) == 0 ||
		 strcmp(trigger->tgname, TRUNCATE_TRIGGER) == 0 ||
		 strcmp(trigger->tgname, LEDGER_TRIGGER) == 0 ||
		 strcmp(trigger->tgname, LEDGER_TRUNCATE_TRIGGER) == 0))
		report_protected_relation(relation,
								  "cannot replace the trigger that guards relation \"%s\"",
								  "Give the trigger another name.");
}

/*
 * Checks all triggers of a relation that call our functions; returns whether
 * one is a guard, and whether one is a ledger's.
 */
static void
check_own_triggers(Relation relation, Node *command, bool *is_governed, bool *is_ledger)
{
	/* a copy: the relation cache may rebuild its own at any catalog access */
	TriggerDesc *triggers = CopyTriggerDesc(relation->trigdesc);
	int			count = triggers ? triggers->numtriggers : 0;

	*is_governed = false;
	*is_ledger = false;
	for (int i = 0; i < count; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (is_own_function(trigger->tgfoid, "guard_fate"))
		{
			check_own_trigger(relation, trigger, GUARD_TRIGGER, GUARD_TRIGGER_TYPE, command);
			*is_governed = true;
		}
		else if (is_own_function(trigger->tgfoid, "guard_truncate"))
			check_own_trigger(relation, trigger, TRUNCATE_TRIGGER, TRUNCATE_TRIGGER_TYPE, command);
		else if (is_own_function(trigger->tgfoid, "guard_ledger"))
		{
			bool		row = TRIGGER_FOR_ROW(trigger->tgtype);

			check_own_trigger(relation, trigger,
							  row ? LEDGER_TRIGGER : LEDGER_TRUNCATE_TRIGGER,
							  row ? LEDGER_TRIGGER_TYPE : TRUNCATE_TRIGGER_TYPE, command);
			*is_ledger = true;
		}
		else
			check_foreign_trigger(relation, trigger, command);
	}
}

/*
 * Refuses a governed table that has become part of an inheritance tree, or,
 * with a guard of its own, a partition.
 */
static void
check_no_relatives(Relation relation)
{
	bool		is_clone = find_trigger(relation, GUARD_TRIGGER)->tgisclone;
	Oid			relid = RelationGetRelid(relation);

	if (relation->rd_rel->relkind == RELKIND_RELATION &&
		find_inheritance_children(relid, NoLock) != NIL)
		report_protected_relation(relation,
								  "cannot make governed relation \"%s\" an inheritance parent",
								  "Its guard would not see the rows of the child. Govern a partitioned table instead.");
	if (has_superclass(relid) && !is_clone)
		report_protected_relation(relation,
								  "cannot make governed relation \"%s\" an inheritance child or a partition",
								  "Ungovern it first; to attach it as a partition, govern the partitioned table.");
}

/*
 * Refuses a change of the columns that govern a table: their names, their
 * types, and the key's NOT NULL.
 */
static void
check_governed_columns(Relation relation, Node *command)
{
	GuardTrigger guard;

	if (lost_column(relation) != NULL)
		report_protected_relation(relation,
								  "cannot rename or drop the key or state column of governed relation \"%s\"",
								  UNGOVERN_HINT);
	read_guard(relation, &guard);
	if (find_subcommand(command, AT_AlterColumnType, guard.key_column) != NULL ||
		find_subcommand(command, AT_AlterColumnType, guard.state_column) != NULL)
		report_protected_relation(relation,
								  "cannot alter the type of the key or state column of governed relation \"%s\"",
								  UNGOVERN_HINT);
	if (find_subcommand(command, AT_DropNotNull, guard.key_column) != NULL)
		report_protected_relation(relation,
								  "cannot let the key of governed relation \"%s\" be null",
								  UNGOVERN_HINT);
}

/*
 * Refuses a governed table to leave its ledger behind; another one may be
 * waiting under that name in the other schema.  A partition's ledger is its
 * topmost table's.
 */
static void
check_ledger_in_place(Relation relation, Node *command)
{
	if (IsA(command, AlterObjectSchemaStmt) && !relation->rd_rel->relispartition)
		report_protected_relation(relation,
								  "cannot move governed relation \"%s\" to another schema than its ledger",
								  UNGOVERN_HINT);
}

/*
 * Refuses a new guard that names a ledger of another owner; it could only
 * hinder him.
 */
static void
check_ledger_owner(Relation relation, Node *command)
{
	GuardTrigger guard;
	Oid			ledger;

	if (!IsA(command, CreateTrigStmt) ||
		strcmp(((CreateTrigStmt *) command)->trigname, GUARD_TRIGGER) != 0)
		return;
	read_guard(relation, &guard);
	ledger = get_relname_relid(guard.ledger, guard.namespace);
	if (OidIsValid(ledger))
		(void) ledger_owner(ledger, guard.ledger, RelationGetRelid(relation),
							RelationGetRelationName(relation));
}

/*
 * Checks a governed table after a command on it.
 */
static void
check_governed_table(Relation relation, Node *command)
{
	check_no_relatives(relation);
	check_ledger_owner(relation, command);
	check_governed_columns(relation, command);
	check_ledger_in_place(relation, command);
}

/* ----------------------------------------------------------------------
 * Ledgers
 * ----------------------------------------------------------------------
 */

/*
 * Returns the name that a relation had before the command.  ALTER INDEX renames
 * tables, too.
 */
static const char *
former_name(Relation relation, Node *command)
{
	if (IsA(command, RenameStmt))
	{
		RenameStmt *rename = (RenameStmt *) command;

		if (rename->renameType == OBJECT_TABLE || rename->renameType == OBJECT_INDEX)
			return rename->relation->relname;
	}
	return RelationGetRelationName(relation);
}

/*
 * Has one of two roles, which may be the same, been granted the other?
 */
static bool
are_related(Oid role, Oid other)
{
	return is_member_of_role(role, other) || is_member_of_role(other, role);
}

/*
 * Returns the guard of a table that uses a ledger, or, where the command has
 * moved or renamed it, that used it: one whose ledger had that name and is
 * nowhere now.  NULL if there is none.
 *
 * Whoever may create tables beside a ledger can give one a guard that names
 * it; what belongs to roles that have nothing to do with each other is no use.
 * Owners who are related count, since one could give the other the table, alter
 * the ledger and take the table back.
 */
static const GuardTrigger *
find_user(Relation ledger, Event *event)
{
	const char *name = former_name(ledger, event->command);
	ListCell   *cell;

	foreach(cell, all_guards(event))
	{
		const GuardTrigger *guard = lfirst(cell);
		Oid			found = get_relname_relid(guard->ledger, guard->namespace);

		if ((found == RelationGetRelid(ledger) ||
			 (!OidIsValid(found) && moves_names(event->command) && strcmp(guard->ledger, name) == 0)) &&
			are_related(relation_owner(guard->relid), ledger->rd_rel->relowner))
			return guard;
	}
	return NULL;
}

/*
 * Checks a ledger after a command on it, if a table uses it.
 */
static void
check_ledger(Relation ledger, Event *event)
{
	const GuardTrigger *user = find_user(ledger, event);

	if (user == NULL)
		return;
	if (get_relname_relid(user->ledger, user->namespace) != RelationGetRelid(ledger))
		report_protected_relation(ledger,
								  "cannot rename a ledger to \"%s\", or move it, while a table uses it",
								  UNGOVERN_HINT);
	if (has_relatives(ledger))
		report_protected_relation(ledger,
								  "cannot make ledger \"%s\" a typed table, a partition, or an inheritance parent or child",
								  "What is done to such a table changes or adds to its relatives.");
	if (ledger->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		report_protected_relation(ledger,
								  "cannot make ledger \"%s\" unlogged",
								  "A crash would empty it.");
	if (find_subcommand(event->command, AT_AlterColumnType, NULL) != NULL)
		report_protected_relation(ledger,
								  "cannot alter the type of a column of ledger \"%s\"",
								  UNGOVERN_HINT);
	if (!has_ledger_columns(ledger) ||
		get_attnum(RelationGetRelid(ledger), user->key_column) <= 0)
		report_protected_relation(ledger,
								  "cannot rename or drop a column of ledger \"%s\"",
								  UNGOVERN_HINT);
}

/* ----------------------------------------------------------------------
 * ddl_command_end
 * ----------------------------------------------------------------------
 */

/*
 * Refuses an inheritance child, which the relation may be, of a governed table
 * or of a ledger.
 */
static void
check_parents(Relation relation, Event *event)
{
	Relation	inherits = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationGetRelid(relation)));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Relation	parent = relation_open(((Form_pg_inherits) GETSTRUCT(tuple))->inhparent,
										   AccessShareLock);

		if (has_guard(parent))
			check_no_relatives(parent);
		if (is_ledger(parent))
			check_ledger(parent, event);
		relation_close(parent, AccessShareLock);
	}
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
}

/*
 * Refuses to attach a governed table or a ledger as a partition to any table.
 * Judges the rows of a partition attached to a governed table, as if they were
 * inserted there.
 */
static void
check_attached_partition(Event *event)
{
	AlterTableCmd *attach = find_subcommand(event->command, AT_AttachPartition, NULL);
	Relation	partition;

	if (attach == NULL)
		return;
	partition = relation_openrv(castNode(PartitionCmd, attach->def)->name, NoLock);
	if (is_ledger(partition))
		check_ledger(partition, event);
	if (has_guard(partition))
	{
		check_no_relatives(partition);
		take_over_partition(partition);
	}
	relation_close(partition, NoLock);
}

/*
 * Checks the governed tables of a composite type that a command worked on.
 */
static void
check_typed_tables(Oid type_relid, Event *event)
{
	ListCell   *cell;

	foreach(cell, all_guards(event))
	{
		Oid			relid = ((GuardTrigger *) lfirst(cell))->relid;
		Relation	relation = try_relation_open(relid, AccessShareLock);
		Oid			type;

		if (relation == NULL)
			continue;
		type = relation->rd_rel->reloftype;
		relation_close(relation, NoLock);
		if (get_typ_typrelid(type) == type_relid)
			check_relation(relid, event);
	}
}

/*
 * Checks a relation that a command worked on, if it is there.
 */
static void
check_relation(Oid relid, Event *event)
{
	Relation	relation;
	bool		is_governed;
	bool		is_ledger;

	if (get_rel_relkind(relid) == RELKIND_COMPOSITE_TYPE &&
		!IsA(event->command, CompositeTypeStmt))
		check_typed_tables(relid, event);
	if (get_rel_relkind(relid) != RELKIND_RELATION &&
		get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE)
		return;
	relation = relation_open(relid, AccessShareLock);
	check_own_triggers(relation, event->command, &is_governed, &is_ledger);
	if (is_governed)
		check_governed_table(relation, event->command);
	if (is_ledger)
		check_ledger(relation, event);
	if (!relation->rd_rel->relispartition)
		check_parents(relation, event);
	check_attached_partition(event);
	relation_close(relation, AccessShareLock);
}

/*
 * Returns the table of a trigger, or InvalidOid.
 */
static Oid
trigger_table(Oid trigger_oid)
{
	Relation	triggers = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	trigger;
	Oid			relid = InvalidOid;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(trigger_oid));
	scan = systable_beginscan(triggers, TriggerOidIndexId, true, NULL, 1, &key);
	trigger = systable_getnext(scan);
	if (HeapTupleIsValid(trigger))
		relid = ((Form_pg_trigger) GETSTRUCT(trigger))->tgrelid;
	systable_endscan(scan);
	table_close(triggers, AccessShareLock);
	return relid;
}

/*
 * Refuses to rename a value of an enum that a lifecycle speaks of.
 */
static void
check_enum(Oid type, Event *event)
{
	ListCell   *cell;

	foreach(cell, all_guards(event))
	{
		const GuardTrigger *guard = lfirst(cell);
		AttrNumber	state = get_attnum(guard->relid, guard->state_column);
		Relation	relation;

		if (get_atttype(guard->relid, state) != type)
			continue;
		relation = relation_open(guard->relid, AccessShareLock);
		if (!has_all_states(type, guard->graph))
			report_protected_relation(relation,
									  "cannot rename a value of the enum that holds the states of relation \"%s\"",
									  "The lifecycle knows its states by name. Add a value, and extend the lifecycle, instead.");
		relation_close(relation, AccessShareLock);
	}
}

/*
 * Checks one object that a command worked on.
 */
static void
check_object(Oid classid, Oid objid, Event *event)
{
	if (classid == RelationRelationId)
		check_relation(objid, event);
	else if (classid == TriggerRelationId)
		check_relation(trigger_table(objid), event);
	else if (classid == TypeRelationId && IsA(event->command, AlterEnumStmt))
		check_enum(objid, event);
}

/*
 * Executes a query on what the event trigger is about; connected to SPI.
 */
static void
query_event(const char *query)
{
	int			result = SPI_execute(query, true, 0);

	if (result != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
}

/*
 * Returns an OID or a text of a row of the result, the text NULL for a null.
 */
static Oid
get_oid(uint64 row, int column)
{
	bool		isnull;

	return DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
										  column, &isnull));
}

static char *
get_text(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

/*
 * Returns a query for the objects that a command worked on, as the server
 * tells them.  Of ALTER EXTENSION SET SCHEMA it tells just the extension; what
 * that has moved is the extension's members.
 */
static const char *
objects_query(Node *command)
{
	if (IsA(command, AlterObjectSchemaStmt) &&
		((AlterObjectSchemaStmt *) command)->objectType == OBJECT_EXTENSION)
		return "SELECT d.classid, d.objid "
			"FROM pg_catalog.pg_event_trigger_ddl_commands() AS c, pg_catalog.pg_depend AS d "
			"WHERE d.refclassid OPERATOR(pg_catalog.=) c.classid "
			"AND d.refobjid OPERATOR(pg_catalog.=) c.objid "
			"AND d.deptype OPERATOR(pg_catalog.=) 'e'";
	return "SELECT classid, objid FROM pg_catalog.pg_event_trigger_ddl_commands()";
}

/*
 * guard_ddl(): at the end of each DDL command, checks the objects that it
 * worked on.
 */
Datum
guard_ddl(PG_FUNCTION_ARGS)
{
	Event		event;

	if (!begin_event(fcinfo, "guard_ddl", "ddl_command_end", &event))
		return PointerGetDatum(NULL);
	SPI_connect();
	query_event(objects_query(event.command));
	for (uint64 i = 0; i < SPI_processed; i++)
		check_object(get_oid(i, 1), get_oid(i, 2), &event);
	SPI_finish();
	return PointerGetDatum(NULL);
}

/* ----------------------------------------------------------------------
 * sql_drop
 * ----------------------------------------------------------------------
 */

/*
 * Opens the table that something was dropped from, if it is still there.
 */
static Relation
open_remaining(const char *schema, const char *table)
{
	Oid			relid = get_relname_relid(table, get_namespace_oid(schema, true));

	return OidIsValid(relid) ? try_relation_open(relid, AccessShareLock) : NULL;
}

/*
 * Refuses the drop of one of our triggers while its table stays; a ledger's
 * may go once no table uses it.
 */
static void
check_dropped_trigger(Relation relation, const char *trigger, Event *event)
{
	if (strcmp(trigger, GUARD_TRIGGER) == 0 || strcmp(trigger, TRUNCATE_TRIGGER) == 0)
		report_protected_relation(relation,
								  "cannot drop the trigger that guards relation \"%s\"",
								  "Call ungovern.");
	if ((strcmp(trigger, LEDGER_TRIGGER) == 0 || strcmp(trigger, LEDGER_TRUNCATE_TRIGGER) == 0) &&
		find_user(relation, event) != NULL)
		report_protected_relation(relation,
								  "cannot drop the trigger that guards ledger \"%s\"",
								  "It stays while a table uses the ledger.");
}

/*
 * Refuses the drop of a column that governs, or of one of a ledger's.  Its
 * name tells: the same command may have added a column of that name anew.
 */
static void
check_dropped_column(Relation relation, const char *column, Event *event)
{
	const GuardTrigger *user;

	if (has_guard(relation))
	{
		GuardTrigger guard;

		read_guard(relation, &guard);
		if (strcmp(column, guard.key_column) == 0 || strcmp(column, guard.state_column) == 0)
			report_protected_relation(relation,
									  "cannot drop the key or state column of governed relation \"%s\"",
									  UNGOVERN_HINT);
	}
	if (is_ledger(relation) && (user = find_user(relation, event)) != NULL &&
		(is_ledger_column(column) || strcmp(column, user->key_column) == 0))
		report_protected_relation(relation,
								  "cannot rename or drop a column of ledger \"%s\"",
								  UNGOVERN_HINT);
}

/*
 * May the user have dropped something that belongs to a table's owner: because
 * the two are related, or because the schema of both is the user's?
 */
static bool
may_drop_beside(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(get_rel_namespace(relid)));
	bool		may = are_related(GetUserId(), relation_owner(relid));

	if (HeapTupleIsValid(tuple))
	{
		may = may || has_privs_of_role(GetUserId(), ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner);
		ReleaseSysCache(tuple);
	}
	return may;
}

/*
 * Refuses the drop of a ledger while a table uses it.  What is gone has no owner
 * any more: a guard that the user could not have deprived of its ledger is a
 * stranger's, who only gave it that name.
 */
static void
check_dropped_table(const char *schema, const char *table, Event *event)
{
	Oid			namespace = get_namespace_oid(schema, true);
	ListCell   *cell;

	foreach(cell, all_guards(event))
	{
		const GuardTrigger *guard = lfirst(cell);

		if (guard->namespace == namespace && strcmp(guard->ledger, table) == 0 &&
			may_drop_beside(guard->relid))
			report_protected_relation(relation_open(guard->relid, AccessShareLock),
									  "cannot drop the ledger of governed relation \"%s\"",
									  "Drop the table with it, or ungovern it first.");
	}
}

/*
 * Refuses the drop of the last index that makes a column of a relation a key;
 * the format of the message takes the relation's name.  A relation that is not
 * there (any more) has nothing to lose.
 */
static void
check_key_kept(Oid relid, const char *column, const char *message, const char *hint)
{
	Relation	relation = OidIsValid(relid) ? try_relation_open(relid, AccessShareLock) : NULL;

	if (relation == NULL)
		return;
	if (!has_key_index(relation, column))
		report_protected_relation(relation, message, hint);
	relation_close(relation, AccessShareLock);
}

/*
 * Checks, after an index was dropped, the keys of the governed tables in its
 * schema, and of their ledgers: of which table it was, nothing tells any more.
 * A table whose indexes the user could not have dropped does not count: its
 * owner may have given it a guard that is not in order.
 */
static void
check_dropped_index(const char *schema, Event *event)
{
	Oid			namespace = get_namespace_oid(schema, true);
	ListCell   *cell;

	foreach(cell, all_guards(event))
	{
		const GuardTrigger *guard = lfirst(cell);

		if (guard->namespace != namespace || !may_drop_beside(guard->relid))
			continue;
		check_key_kept(guard->relid, guard->key_column,
					   "cannot drop the unique index on the key of governed relation \"%s\"",
					   UNGOVERN_HINT);
		check_key_kept(get_relname_relid(guard->ledger, namespace), guard->key_column,
					   "cannot drop the primary key of ledger \"%s\"",
					   "It is what admits one fate a key.");
	}
}

/*
 * Checks what was dropped with a trigger of one of our names: nothing else, so
 * that its table is weakened; or its table too, which may have been a ledger.
 */
static void
check_dropped_with_trigger(const char *schema, const char *table, const char *trigger,
						   Event *event)
{
	Relation	relation = open_remaining(schema, table);

	if (relation != NULL)
	{
		check_dropped_trigger(relation, trigger, event);
		relation_close(relation, AccessShareLock);
	}
	else if (strcmp(trigger, LEDGER_TRIGGER) == 0)
		check_dropped_table(schema, table, event);
}

/*
 * Checks one object that was dropped, by the parts of its name.
 */
static void
check_dropped_object(const char *type, const char *schema, const char *table, const char *name,
					 Event *event)
{
	Relation	relation;

	if (strcmp(type, "index") == 0)
		check_dropped_index(schema, event);
	else if (strcmp(type, "trigger") == 0)
		check_dropped_with_trigger(schema, table, name, event);
	else if ((relation = open_remaining(schema, table)) != NULL)
	{
		check_dropped_column(relation, name, event);
		relation_close(relation, AccessShareLock);
	}
}

/*
 * guard_drop(): after each command that drops something, checks what it
 * dropped.  What went with its whole table is gone from the catalogs by now
 * and hinders nothing.
 */
Datum
guard_drop(PG_FUNCTION_ARGS)
{
	Event		event;

	if (!begin_event(fcinfo, "guard_drop", "sql_drop", &event))
		return PointerGetDatum(NULL);
	SPI_connect();

	/*
	 * Most drops are of whole tables, which shall cost nothing here: of the
	 * triggers only ours count, and an index that goes with its table, or
	 * with others, does not.  Of an index its schema is known, and that once
	 * will do.
	 */
	query_event("WITH dropped AS MATERIALIZED"
				" (SELECT * FROM pg_catalog.pg_event_trigger_dropped_objects())"
				" SELECT DISTINCT object_type, address_names[1],"
				" CASE WHEN object_type OPERATOR(pg_catalog.=) 'index' THEN NULL"
				" ELSE address_names[2] END, address_names[3] FROM dropped"
				" WHERE address_names[1] IS NOT NULL"
				" AND (object_type OPERATOR(pg_catalog.=) 'table column'"
				" OR object_type OPERATOR(pg_catalog.=) 'trigger'"
				" AND address_names[3] OPERATOR(pg_catalog.~) '^petition_cas_'"
				" OR object_type OPERATOR(pg_catalog.=) 'index'"
				" AND (original OR NOT EXISTS (SELECT FROM dropped"
				" WHERE object_type OPERATOR(pg_catalog.=) 'table')))");
	for (uint64 i = 0; i < SPI_processed; i++)
		check_dropped_object(get_text(i, 1), get_text(i, 2), get_text(i, 3), get_text(i, 4),
							 &event);
	SPI_finish();
	return PointerGetDatum(NULL);
}
