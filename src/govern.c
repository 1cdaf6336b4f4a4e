/*-------------------------------------------------------------------------
 *
 * govern.c
 *	  Govern a table, take that back, extend its lifecycle.
 *
 * The functions here run as the owner of the table; see identity.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "compat.h"
#include "errors.h"
#include "govern.h"
#include "governed.h"
#include "identity.h"
#include "ledger.h"
#include "shard.h"
#include "soundness.h"
#include "statement.h"
#include "verify.h"

/* How many rows are named where many are wrong */
#define NAMED_ROWS 5

PG_FUNCTION_INFO_V1(govern);
PG_FUNCTION_INFO_V1(ungovern);
PG_FUNCTION_INFO_V1(extend_lifecycle);

/* ----------------------------------------------------------------------
 * Can the table be governed?
 * ----------------------------------------------------------------------
 */

/*
 * Raises the first of the problems that keep a table from being governed, if
 * there is one.
 */
static void
refuse_problems(const List *problems, Relation relation)
{
	const Problem *problem;

	if (problems == NIL)
		return;
	problem = linitial(problems);
	ereport(ERROR,
			(errcode(problem->sqlerrcode),
			 errmsg("cannot govern relation \"%s\": %s",
					RelationGetRelationName(relation), problem->text),
			 problem->hint != NULL ? errhint("%s", problem->hint) : 0,
			 errtable(relation)));
}

/*
 * Raises 42710 for a state column of a relation that is governed already, and 22023 for
 * a key that is not the one of the relation's other lifecycles.
 */
static void
check_other_guards(Relation relation, const GuardTrigger *wanted, const List *guards)
{
	bool		same = guards == NIL && has_guard(relation);
	ListCell   *cell;

	foreach(cell, guards)
		same = same || strcmp(((GuardTrigger *) lfirst(cell))->state_column, wanted->state_column) == 0;
	if (same && !relation->rd_rel->relispartition)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 guards == NIL || list_length(guards) == 1 ?
				 errmsg("relation \"%s\" is already governed", RelationGetRelationName(relation)) :
				 errmsg("column \"%s\" of relation \"%s\" is already governed",
						wanted->state_column, RelationGetRelationName(relation)),
				 errhint("Use extend_lifecycle to add states and transitions, or ungovern first.")));
	if (guards != NIL && !relation->rd_rel->relispartition)
	{
		const GuardTrigger *other = linitial(guards);

		if (strcmp(name_list(other->key_columns), name_list(wanted->key_columns)) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("relation \"%s\" is governed by another key already",
							RelationGetRelationName(relation)),
					 errhint("All lifecycles of a table have the same key: %s.",
							 name_list(other->key_columns)),
					 errtable(relation)));
	}
}

/*
 * Raises 55006 for a relation with trigger events that wait for the end of the
 * transaction: the server lets nobody alter it then, and does not say what to
 * do.
 */
static void
check_no_events(Relation relation)
{
	if (AfterTriggerPendingOnRel(RelationGetRelid(relation)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("relation \"%s\" has pending trigger events",
						RelationGetRelationName(relation)),
				 errhint("SET CONSTRAINTS ALL IMMEDIATE lets them happen; or commit first."),
				 errtable(relation)));
}

/*
 * Keeps the definition of a type, and of the types that it is made of, as it is
 * until the transaction ends: renaming a label or changing an attribute of it
 * is refused once the table is governed, which nobody else can see before.
 */
static void
hold_type(Oid type)
{
	Oid			base = getBaseType(type);
	Oid			element = get_element_type(base);
	Oid			composite = get_typ_typrelid(base);
	Oid			subtype = get_range_subtype(base);

	check_stack_depth();
	if (get_typtype(base) == TYPTYPE_ENUM)
		LockDatabaseObject(TypeRelationId, base, 0, RowShareLock);
	if (OidIsValid(element))
		hold_type(element);
	if (OidIsValid(subtype))
		hold_type(subtype);
	if (OidIsValid(composite))
	{
		TupleDesc	desc;

		LockRelationOid(composite, AccessShareLock);
		desc = lookup_rowtype_tupdesc(base, -1);
		for (int i = 0; i < desc->natts; i++)
		{
			if (!TupleDescAttr(desc, i)->attisdropped)
				hold_type(TupleDescAttr(desc, i)->atttypid);
		}
		ReleaseTupleDesc(desc);
	}
}

/*
 * Keeps the type of a column, if it is there, as it is.
 */
static void
hold_column_type(Relation relation, const char *column)
{
	AttrNumber	attno = get_attnum(RelationGetRelid(relation), column);

	if (attno > InvalidAttrNumber)
		hold_type(TupleDescAttr(RelationGetDescr(relation), attno - 1)->atttypid);
}

/* ----------------------------------------------------------------------
 * Its ledger and history
 * ----------------------------------------------------------------------
 */

/*
 * Does the guard of another table, or of another lifecycle of this one, write into the
 * ledger or history of that name in the relation's schema?  That of another owner does not count: it could not.
 */
static bool
is_used_by_other(Relation relation, const char *record, Oid guard_fate)
{
	ListCell   *cell;

	foreach(cell, read_guards(relation))
	{
		if (kind_for_guard(lfirst(cell), record) != NULL)
			return true;
	}
	foreach(cell, tables_naming_record(guard_fate, RelationGetNamespace(relation), record))
	{
		if (lfirst_oid(cell) != RelationGetRelid(relation) &&
			relation_owner(lfirst_oid(cell)) == relation->rd_rel->relowner)
			return true;
	}
	return false;
}

/*
 * Raises 55000 for an existing relation that cannot be the ledger, or the history, of a
 * table.  Without a hint, it tells how to have another one.
 */
pg_noreturn static void
refuse_record(const RecordKind *kind, const char *record, Relation relation, const char *why,
			  const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("relation \"%s\" cannot be the %s of relation \"%s\": %s",
					record, kind->name, RelationGetRelationName(relation), why),
			 hint != NULL ? errhint("%s", hint) :
			 errhint("The %s has to have this name. Rename the relation that has it now, or the table to govern.",
					 kind->name)));
}

/*
 * Raises 55000 unless an existing relation can be taken over as the ledger, or the
 * history, of a table whose name says that it is.  That its triggers are gone, as they are
 * after DROP EXTENSION CASCADE, does not matter: govern creates them.
 */
static void
check_existing_record(const RecordKind *kind, Oid existing, const char *name, Relation relation,
					  List *key_columns, Oid guard_fate)
{
	Relation	ledger;
	List	   *problems;

	if (get_rel_relkind(existing) != RELKIND_RELATION)
		refuse_record(kind, name, relation,
					  psprintf("%s \"%s\" is not an ordinary table", kind->name, name), NULL);
	if (!is_own_table(existing, relation))
		refuse_record(kind, name, relation,
					  psprintf("%s \"%s\" belongs to another role than the table", kind->name, name),
					  NULL);
	ledger = open_relation(existing, ShareRowExclusiveLock);
	if (is_used_by_other(relation, name, guard_fate))
		refuse_record(kind, name, relation, "another table uses it",
					  "Rename the table that is to be governed; or ungovern the other one, and rename its ledger.");
	problems = record_problems(kind, ledger, relation, key_columns);
	if (problems != NIL)
	{
		const Problem *problem = linitial(problems);

		refuse_record(kind, name, relation, problem->text,
					  problem->hint != NULL ? problem->hint :
					  is_ledger(ledger) ? "Repair it; or rename it, if it is not this table's, and a new one is begun." :
					  NULL);
	}
	check_no_events(ledger);
	relation_close(ledger, NoLock);
}

/*
 * Returns whose ledger or history an existing relation says that it is, as ledger_subject does;
 * NULL if it is none.
 */
static char *
existing_subject(Oid existing, char **state_column)
{
	Relation	ledger = open_relation(existing, AccessShareLock);
	char	   *subject = is_ledger(ledger) ? ledger_subject(ledger, state_column) : NULL;

	relation_close(ledger, AccessShareLock);
	return subject;
}

/*
 * Is an existing relation a ledger or history that was created for a table of that name, and for
 * that state column (NULL: for the first lifecycle)?
 */
static bool
is_ledger_of(Oid existing, Relation relation, const char *state_column)
{
	char	   *column;
	char	   *subject;

	if (!is_own_table(existing, relation))
		return false;
	subject = existing_subject(existing, &column);
	return subject != NULL && strcmp(subject, RelationGetRelationName(relation)) == 0 &&
		(state_column == NULL ? column == NULL :
		 column != NULL && strcmp(column, state_column) == 0);
}

/*
 * Raises 55000 for a ledger or history, by whose name it is a table's, but which says that
 * it is another one's.
 */
static void
check_not_anothers(const RecordKind *kind, Oid existing, const char *name, Relation relation)
{
	char	   *column;
	char	   *subject = existing_subject(existing, &column);

	if (subject != NULL &&
		(column != NULL || strcmp(subject, RelationGetRelationName(relation)) != 0))
		refuse_record(kind, name, relation,
					  psprintf("it is the %s of relation \"%s\"", kind->name, subject), NULL);
}

/*
 * Raises 55000 where the first lifecycle of a table is to be one that has a ledger from
 * when it was another than the first: it would begin without its fates, in the ledger of
 * the one that was.
 */
static void
check_was_first(Relation relation, const char *state_column)
{
	const char *table = RelationGetRelationName(relation);
	char	   *name = makeObjectName(table, state_column, ledger_kind.label);
	Oid			former = get_relname_relid(name, RelationGetNamespace(relation));

	if (OidIsValid(former) && is_ledger_of(former, relation, state_column))
		refuse_record(&ledger_kind, makeObjectName(table, NULL, ledger_kind.label), relation,
					  psprintf("state column \"%s\" has the ledger \"%s\"", state_column, name),
					  "Govern first the state column whose lifecycle was the first.");
}

/*
 * Returns whether the triggers of a ledger or history have to say whose it is: its name
 * does not, if it was shortened, or if it is of another lifecycle than the first.
 */
static bool
must_say_whose(const RecordKind *kind, Relation relation, const GuardTrigger *guard)
{
	return strcmp(guard->name, GUARD_TRIGGER) != 0 ||
		strlen(RelationGetRelationName(relation)) + 1 + strlen(kind->label) >= NAMEDATALEN;
}

/*
 * Returns the name of the ledger of a table's lifecycle, <table>_fates or, of another
 * one than the first, <table>_<state column>_fates, and whether it is there already, to
 * be taken over; or of its history, likewise.  A name that is too long is shortened as
 * the server does it for constraints, with a number where another relation has the name;
 * then, and for all but the first lifecycle, the trigger there says whose it is, and one
 * that does not say so is another's.
 */
static char *
choose_record(const RecordKind *kind, Relation relation, const GuardTrigger *guard,
			  Oid guard_fate, bool *exists)
{
	const char *table = RelationGetRelationName(relation);
	bool		is_first = strcmp(guard->name, GUARD_TRIGGER) == 0;
	const char *column = is_first ? NULL : guard->state_column;

	bool		says_whose = must_say_whose(kind, relation, guard);

	for (int number = 0;; number++)
	{
		const char *label = number == 0 ? kind->label : psprintf("%s%d", kind->label, number);
		char	   *name = makeObjectName(table, column, label);
		Oid			existing = get_relname_relid(name, RelationGetNamespace(relation));

		CHECK_FOR_INTERRUPTS();
		*exists = OidIsValid(existing);
		if (!*exists)
			return name;
		if (says_whose &&
			(!is_ledger_of(existing, relation, column) ||
			 is_used_by_other(relation, name, guard_fate)))
			continue;
		check_existing_record(kind, existing, name, relation, guard->key_columns, guard_fate);
		if (!says_whose)
			check_not_anothers(kind, existing, name, relation);
		return name;
	}
}

/* ----------------------------------------------------------------------
 * The triggers
 * ----------------------------------------------------------------------
 */

/*
 * Returns the name of a relation with its schema, quoted.
 */
static char *
quoted_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

/*
 * Executes a command of ours, which Citus may pass on to other nodes.  The guards of
 * DDL there do not know whose it is, and Citus has a setting of its own: who is
 * refused is told what lets the command through.
 */
static void
execute_ddl_anywhere(const char *command)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		execute_own_ddl(command);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		if (!has_citus())
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		if (error->sqlerrcode == ERRCODE_FATE_PROTECTED ||
			error->sqlerrcode == ERRCODE_INTERNAL_ERROR)
			error->hint = pstrdup("On a distributed table, first, in the same transaction and each as a command of its own: SET LOCAL citus.propagate_set_commands = 'local'; SET LOCAL petition_cas.allow_unguard = on; SET LOCAL citus.enable_unsafe_triggers = on. The owner of the table needs GRANT SET ON PARAMETER petition_cas.allow_unguard on each node.");
		ReThrowError(error);
	}
	PG_END_TRY();
}

/*
 * Creates or replaces one of our triggers and lets it fire always; connected
 * to SPI.  events is what stands between the trigger's name and ON, level what
 * stands before EXECUTE, call the function with its arguments.  One that is not there
 * is created plainly: what a plain CREATE TRIGGER leaves to be done later is forgiven
 * on other nodes too.  (Of a partitioned table, the partitions may have one.)
 */
static void
create_trigger(Oid relid, const char *name, const char *events, const char *level,
			   const char *schema, const char *call)
{
	const char *table = quoted_name(relid);
	bool		exists = OidIsValid(get_trigger_oid(relid, name, true));
	bool		replace = exists || get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE;

	execute_ddl_anywhere(psprintf("CREATE %sTRIGGER %s %s ON %s FOR EACH %s EXECUTE FUNCTION %s.%s",
								  replace ? "OR REPLACE " : "", quote_identifier(name), events,
								  table, level, quote_identifier(schema), call));
	execute_ddl_anywhere(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", table,
								  quote_identifier(name)));
}

/*
 * Creates or replaces the guard of a table.
 */
static void
create_guard(Oid relid, const char *schema, const GuardTrigger *guard)
{
	create_trigger(relid, guard->name, "AFTER INSERT OR UPDATE OR DELETE",
				   "ROW", schema,
				   psprintf("guard_fate(%s, %s, %s, %s%s%s)",
							quote_literal_cstr(name_list(guard->key_columns)),
							quote_literal_cstr(guard->state_column),
							quote_literal_cstr(guard->ledger),
							quote_literal_cstr(guard->graph),
							strcmp(guard->options, "{}") == 0 ? "" : ", ",
							strcmp(guard->options, "{}") == 0 ? "" :
							quote_literal_cstr(guard->options)));
}

/*
 * Creates or replaces the triggers of a ledger or history; whose is what it says of whose
 * it is, arguments in SQL, or "".
 */
static void
create_ledger_guards(Oid ledger, const char *schema, const char *whose)
{
	create_trigger(ledger, LEDGER_TRIGGER, "BEFORE UPDATE OR DELETE", "ROW", schema,
				   psprintf("guard_ledger(%s)", whose));
	create_trigger(ledger, LEDGER_TRUNCATE_TRIGGER, "AFTER TRUNCATE", "STATEMENT", schema,
				   "guard_ledger()");
}

/* ----------------------------------------------------------------------
 * govern and ungovern
 * ----------------------------------------------------------------------
 */

/*
 * Raises 22023 if rows have states that the lifecycle does not know, and
 * 55000, with that hint, if they are at odds with the ledger; names some.
 * Fates whose row is gone are for check_leftover to judge.
 */
static void
check_rows(const Governed *governed, const char *hint)
{
	Comparison	comparison;
	Disagreement disagreement;
	StringInfoData list;
	bool		unknown_state = false;
	int			count = 0;

	initStringInfo(&list);
	begin_comparison(&comparison, governed);
	while (count < NAMED_ROWS && next_disagreement(&comparison, &disagreement))
	{
		if (!disagreement.has_row)
			continue;
		if (count == 0)
			unknown_state = lifecycle_find_name(governed->lifecycle, disagreement.state) == NO_STATE;
		appendStringInfo(&list, "%sRow \"%s\": %s.", count++ > 0 ? "\n" : "",
						 disagreement.key, describe_disagreement(governed, &disagreement));
	}
	end_comparison(&comparison);
	if (count == 0)
		return;
	if (unknown_state)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("rows of relation \"%s\" are in states that its lifecycle does not know",
						governed->relation),
				 errdetail_internal("%s", list.data),
				 errhint("The states are: %s. Correct the rows, or the lifecycle.",
						 lifecycle_state_list(governed->lifecycle))));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rows of relation \"%s\" are at odds with its ledger \"%s\"",
					governed->relation, governed->ledger),
			 errdetail_internal("%s", list.data),
			 errhint("%s", hint)));
}

/*
 * Selects keys of the ledger that have, or have not, their row in the table, at
 * most limit; connected to SPI, as the owner.  Returns how many.
 */
static uint64
select_ledger_keys(const Governed *governed, bool with_row, int limit)
{
	StringInfoData query;

	initStringInfo(&query);
	appendStringInfoString(&query, "SELECT ");
	append_key(&query, &governed->ledger_key, "l");
	appendStringInfo(&query, " FROM %s l WHERE %sEXISTS (SELECT FROM %s t WHERE ",
					 ledger_sql(governed), with_row ? "" : "NOT ", rows_sql(governed));
	append_key_equality(&query, &governed->key, "t", &governed->ledger_key, "l");
	appendStringInfo(&query, ") LIMIT %d", limit);
	return execute_latest(query.data, 0, NULL, NULL, NULL);
}

/*
 * Raises 55000 for a ledger that holds fates of rows that the table does not
 * have: it may have been the ledger of a dropped table of that name, and the
 * rows to come would be refused fates that they never had.  Of a partitioned
 * table fates outlive the rows of dropped partitions: there one fate that has
 * its row tells that the ledger is the table's.
 */
static void
check_leftover(const Governed *governed)
{
	StringInfoData list;
	uint64		found;

	if (governed->is_partitioned && select_ledger_keys(governed, true, 1) > 0)
		return;
	found = select_ledger_keys(governed, false, NAMED_ROWS);
	if (found == 0)
		return;
	initStringInfo(&list);
	for (uint64 i = 0; i < found; i++)
	{
		Datum		key[MAX_KEY_COLUMNS];

		key_of_result(&governed->key, SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, key);
		appendStringInfo(&list, "%s\"%s\"", i > 0 ? ", " : "", key_text(&governed->key, key));
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("ledger \"%s\" holds fates of rows that relation \"%s\" does not have",
					governed->ledger, governed->relation),
			 errdetail("Keys without a row: %s%s", list.data, found == NAMED_ROWS ? ", ..." : "."),
			 errhint("It may be the ledger of another table that had this name. Rename it to begin a new one; or, if the fates are this table's, give it back its rows.")));
}

/*
 * Records the fates that rows have already, and checks that all rows agree
 * with lifecycle and ledger.
 */
static void
take_over_rows(const Governed *governed, const char *hint)
{
	write_missing_fates(governed);
	check_rows(governed, hint);
}

/*
 * Does for a partition, which was attached to a governed table, what govern
 * does for the rows of a table; as the topmost table's owner, which the ledger
 * belongs to.
 */
void
take_over_partition(Relation partition)
{
	Relation	root = open_relation(topmost_table(RelationGetRelid(partition)), AccessShareLock);
	Identity	caller = become_owner(root);
	ListCell   *cell;

	SPI_connect();
	foreach(cell, read_guards(partition))
	{
		Governed   *governed = get_governed_by(partition, ((GuardTrigger *) lfirst(cell))->oid);

		(void) check_sound(governed, partition);
		take_over_rows(governed, "The ledger has another fate for them. Correct the rows before they become a partition.");
	}
	SPI_finish();
	become_caller_again(caller);
	relation_close(root, AccessShareLock);
}

/*
 * Raises 55000 for a table that is distributed already and has no distributed ledger, or
 * history, of that name: one that govern begins here would be out of its shards' reach.
 */
static void
check_record_distributed(const RecordKind *kind, Relation relation, const char *name)
{
	if (is_distributed(RelationGetRelid(relation)) &&
		!is_distributed(get_relname_relid(name, RelationGetNamespace(relation))))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("distributed relation \"%s\" has no distributed %s",
						RelationGetRelationName(relation), kind->name),
				 errhint("Create \"%s\" and distribute it first, colocated with the table: docs/citus.md has the statements. Or undistribute the table, govern it, and distribute both.",
						 name)));
}

/*
 * Returns the trigger's arguments in SQL by which a ledger or history says whose it is.
 */
static char *
whose_ledger(Relation relation, const GuardTrigger *guard)
{
	char	   *table = quote_literal_cstr(RelationGetRelationName(relation));

	return strcmp(guard->name, GUARD_TRIGGER) == 0 ? table :
		psprintf("%s, %s", table, quote_literal_cstr(guard->state_column));
}

/*
 * Returns whether one of the guards of a table is that of its first lifecycle.
 */
static bool
has_first_guard(const List *guards)
{
	ListCell   *cell;

	foreach(cell, guards)
	{
		if (strcmp(((const GuardTrigger *) lfirst(cell))->name, GUARD_TRIGGER) == 0)
			return true;
	}
	return false;
}

/*
 * Raises 42710 for a table that has a trigger of a name that one of ours is to have: the
 * guard, of which there is none yet, or that against TRUNCATE, which all lifecycles share.
 * It is one of the user, or the guard of a state column whose name has the same beginning.
 */
static void
check_names_free(Relation relation, const char *guard)
{
	const Trigger *truncate = find_trigger(relation, TRUNCATE_TRIGGER);

	if (truncate != NULL && !is_own_function(truncate->tgfoid, "guard_truncate"))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("trigger \"%s\" for relation \"%s\" already exists",
						TRUNCATE_TRIGGER, RelationGetRelationName(relation)),
				 errhint("Govern creates a trigger of that name. Give yours another one.")));
	if (OidIsValid(get_trigger_oid(RelationGetRelid(relation), guard, true)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("trigger \"%s\" for relation \"%s\" already exists",
						guard, RelationGetRelationName(relation)),
				 errhint("The guard of this state column has that name. Give the trigger another one, or, if it is the guard of a column whose long name begins in the same way, the column.")));
}

/*
 * Creates the ledger or history of a table, as its guard says, unless it is there, and
 * its triggers; connected to SPI.
 */
static void
set_up_record(const RecordKind *kind, Relation relation, const GuardTrigger *guard,
			  bool exists, const char *schema)
{
	const char *whose = must_say_whose(kind, relation, guard) ? whose_ledger(relation, guard) : "";

	if (!exists)
		create_record(relation, guard, kind);
	create_ledger_guards(get_relname_relid(record_of_guard(guard, kind), RelationGetNamespace(relation)),
						 schema, whose);
}

/*
 * Governs a table that the caller owns, with our functions in that schema, by key_column
 * (NULL: the primary key), and with a history or not, whose name govern finds; returns its
 * ledger.  Holds a lock that keeps writers out until the transaction ends.
 */
Oid
govern_relation(const char *schema, Oid relid, Jsonb *graph, const char *key_column,
				const char *state_column, const Options *options, bool history)
{
	Relation	relation = open_owned_relation(relid, ShareRowExclusiveLock);
	Oid			namespace = RelationGetNamespace(relation);
	Identity	caller = become_owner(relation);
	GuardTrigger wanted = {.state_column = pstrdup(state_column)};
	List	   *guards = read_guards(relation);
	Lifecycle  *lifecycle = lifecycle_parse(graph);
	Options		written = *options;
	Oid			guard_fate = own_function(schema, "guard_fate");
	Oid			ledger;
	Governed   *governed;
	bool		exists;
	bool		history_exists = false;
	ListCell   *cell;

	check_no_shard(relation);
	wanted.graph = JsonbToCString(NULL, &graph->root, VARSIZE(graph));
	wanted.name = has_first_guard(guards) ? guard_name(state_column) : GUARD_TRIGGER;
	if (key_column != NULL)
		wanted.key_columns = list_make1(pstrdup(key_column));
	else
		wanted.key_columns = guards != NIL ? ((GuardTrigger *) linitial(guards))->key_columns :
			default_key(relation);
	check_other_guards(relation, &wanted, guards);
	foreach(cell, options->initial_states)
	{
		if (lifecycle_find_name(lifecycle, lfirst(cell)) == NO_STATE)
			report_unknown_state(lifecycle, RelationGetRelationName(relation), lfirst(cell));
	}
	foreach(cell, wanted.key_columns)
		hold_column_type(relation, lfirst(cell));
	hold_column_type(relation, state_column);
	foreach(cell, options->evidence)
		hold_column_type(relation, lfirst(cell));
	wanted.options = write_options(options);
	refuse_problems(table_problems(relation, &wanted), relation);
	check_names_free(relation, wanted.name);
	check_no_events(relation);

	if (strcmp(wanted.name, GUARD_TRIGGER) == 0)
		check_was_first(relation, state_column);
	wanted.ledger = choose_record(&ledger_kind, relation, &wanted, guard_fate, &exists);
	check_record_distributed(&ledger_kind, relation, wanted.ledger);
	if (history)
	{
		wanted.history = choose_record(&history_kind, relation, &wanted, guard_fate, &history_exists);
		check_record_distributed(&history_kind, relation, wanted.history);
	}
	written.history = wanted.history;
	wanted.options = write_options(&written);
	SPI_connect();
	set_up_record(&ledger_kind, relation, &wanted, exists, schema);
	if (history)
		set_up_record(&history_kind, relation, &wanted, history_exists, schema);
	ledger = get_relname_relid(wanted.ledger, namespace);
	/* ALTER TABLE refuses to work on a table that is open */
	relation_close(relation, NoLock);

	create_guard(relid, schema, &wanted);
	create_trigger(relid, TRUNCATE_TRIGGER, "AFTER TRUNCATE", "STATEMENT", schema,
				   "guard_truncate()");
	relation = table_open(relid, NoLock);
	governed = get_governed(relation, state_column);
	(void) check_sound(governed, relation);
	if (exists && options->keep_rows)
		check_leftover(governed);
	take_over_rows(governed, "The ledger is from an earlier govern of this table. Correct the rows; or rename the ledger to begin a new one.");
	table_close(relation, NoLock);
	SPI_finish();

	become_caller_again(caller);
	return ledger;
}

/*
 * Adds states and transitions to the lifecycle of a table that the caller owns, or to
 * that of a state column, with our functions in that schema; returns the whole lifecycle
 * as it is then.  The lock waits for running assignments and keeps others out until the
 * transaction ends.
 */
static Jsonb *
extend_relation(const char *schema, Oid relid, const char *state_column, Jsonb *transitions)
{
	Relation	relation = open_owned_relation(relid, ShareRowExclusiveLock);
	GuardTrigger wanted;
	Governed   *governed;
	Identity	caller;
	Jsonb	   *extended;
	Datum		graph;

	check_governed_root(relation);
	caller = become_owner(relation);
	governed = get_governed(relation, state_column);
	check_readable(governed, relation);
	hold_column_type(relation, governed->state.name);
	graph = DirectFunctionCall1(jsonb_in, CStringGetDatum(governed->graph));
	extended = lifecycle_to_jsonb(lifecycle_extend(DatumGetJsonbP(graph), transitions));
	wanted = *read_guard(relation, governed->guard);
	wanted.graph = JsonbToCString(NULL, &extended->root, VARSIZE(extended));
	refuse_problems(table_problems(relation, &wanted), relation);
	check_no_events(relation);

	/* ALTER TABLE refuses to work on a table that is open */
	relation_close(relation, NoLock);
	SPI_connect();
	create_guard(relid, schema, &wanted);
	SPI_finish();
	become_caller_again(caller);
	return extended;
}

/*
 * Returns whether lists of names have the same ones, in whatever order.
 */
static bool
has_same_names(const List *a, const List *b)
{
	ListCell   *cell;

	foreach(cell, a)
	{
		if (!has_name(b, lfirst(cell)))
			return false;
	}
	foreach(cell, b)
	{
		if (!has_name(a, lfirst(cell)))
			return false;
	}
	return true;
}

/*
 * Raises 42710 if the guard of a state column differs from what govern is called with, in
 * more than that its lifecycle may be extended to the new one.
 */
static void
check_same_guard(Relation relation, const GuardTrigger *guard, const Lifecycle *present,
				 const Lifecycle *lifecycle, const char *key_column, const Options *options,
				 bool history)
{
	const char *lacks = lifecycle_lacks(lifecycle, present);
	StringInfoData differences;
	Options		former;

	initStringInfo(&differences);
	(void) read_options(guard->options, &former);
	if (lacks != NULL)
		appendStringInfo(&differences, "The lifecycle has %s, which is not given.\n", lacks);
	if (key_column != NULL &&
		strcmp(name_list(guard->key_columns), quote_identifier(key_column)) != 0)
		appendStringInfo(&differences, "The key is %s.\n", name_list(guard->key_columns));
	if (former.any_initial != options->any_initial ||
		!has_same_names(former.initial_states, options->initial_states))
		appendStringInfo(&differences, "The initial states are %s.\n",
						 former.any_initial ? "any" : name_list(former.initial_states));
	/* the order of the evidence is that of its hash */
	if ((former.evidence == NIL) != (options->evidence == NIL) ||
		(former.evidence != NIL &&
		 strcmp(name_list(former.evidence), name_list(options->evidence)) != 0))
		appendStringInfo(&differences, "The evidence is %s.\n",
						 former.evidence == NIL ? "none" : name_list(former.evidence));
	if (former.keep_rows != options->keep_rows)
		appendStringInfo(&differences, "Fated rows are %skept.\n", former.keep_rows ? "" : "not ");
	if ((former.history != NULL) != history)
		appendStringInfo(&differences, "There is %s history.\n", former.history != NULL ? "a" : "no");
	if (differences.len == 0)
		return;
	differences.data[--differences.len] = '\0';
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("column \"%s\" of relation \"%s\" is already governed, but not so",
					guard->state_column, RelationGetRelationName(relation)),
			 errdetail_internal("%s", differences.data),
			 errhint("To change that, call ungovern and govern in one transaction; govern_ddl gives the present call."),
			 errtable(relation)));
}

/*
 * Returns the ledger of a table whose state column is governed already as govern is
 * called now, after its lifecycle was extended, if the new one does that; InvalidOid for
 * one that is not governed yet.  Raises 42710 if it is governed in another way.  If there
 * is nothing to do, nobody waits for this.
 */
static Oid
govern_again(const char *schema, Oid relid, Jsonb *graph, const char *key_column,
			 const char *state_column, const Options *options, bool history)
{
	Relation	relation = open_owned_relation(relid, AccessShareLock);
	Lifecycle  *lifecycle = lifecycle_parse(graph);
	Lifecycle  *present;
	GuardTrigger *guard = NULL;
	Oid			ledger;
	ListCell   *cell;

	check_no_shard(relation);
	foreach(cell, read_guards(relation))
	{
		if (strcmp(((GuardTrigger *) lfirst(cell))->state_column, state_column) == 0)
			guard = lfirst(cell);
	}
	if (guard == NULL || relation->rd_rel->relispartition)
	{
		relation_close(relation, AccessShareLock);
		return InvalidOid;
	}
	present = lifecycle_parse(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(guard->graph))));
	check_same_guard(relation, guard, present, lifecycle, key_column, options, history);
	ledger = governed_ledger(get_governed_by(relation, guard->oid), false);
	(void) ledger_owner(&ledger_kind, ledger, guard->ledger, relid, RelationGetRelationName(relation));
	relation_close(relation, AccessShareLock);
	if (lifecycle_lacks(present, lifecycle) != NULL)
		(void) extend_relation(schema, relid, state_column, graph);
	return ledger;
}

/*
 * Returns the names in an argument that is an array of texts or of names, or NIL if it
 * is null; raises 22004 for a null among them, and 22023 if there is none; hint says
 * what is given instead.
 */
static List *
names_argument(FunctionCallInfo fcinfo, int argument, const char *name, const char *hint)
{
	ArrayType  *array;
	Datum	   *elements;
	int			count;
	List	   *names = NIL;

	if (PG_ARGISNULL(argument))
		return NIL;
	array = PG_GETARG_ARRAYTYPE_P(argument);
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not contain nulls", name)));
	if (ARR_ELEMTYPE(array) == NAMEOID)
		deconstruct_array(array, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &elements, NULL, &count);
	else
		deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &count);
	for (int i = 0; i < count; i++)
		names = lappend(names, ARR_ELEMTYPE(array) == NAMEOID ?
						pstrdup(NameStr(*DatumGetName(elements[i]))) :
						TextDatumGetCString(elements[i]));
	if (names == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be empty", name),
				 errhint("%s", hint)));
	return names;
}

/*
 * govern(relation, lifecycle, key_column, state_column, initial_states, evidence,
 * keep_rows, history) returns the ledger.  Called again it changes nothing, or extends the
 * lifecycle.
 */
Datum
govern(PG_FUNCTION_ARGS)
{
	Options		options = {0};
	Oid			ledger;

	check_not_null(fcinfo, 0, "relation");
	check_not_null(fcinfo, 1, "lifecycle");
	check_not_null(fcinfo, 3, "state_column");
	check_not_null(fcinfo, 6, "keep_rows");
	check_not_null(fcinfo, 7, "history");
	PreventCommandIfReadOnly("govern()");

	options.any_initial = PG_ARGISNULL(4);
	options.initial_states = names_argument(fcinfo, 4, "initial_states",
											"Name the states in which rows begin; null is any.");
	options.evidence = names_argument(fcinfo, 5, "evidence",
									  "Name the columns that a decision rests on; null is none.");
	options.keep_rows = PG_GETARG_BOOL(6);
	ledger = govern_again(own_schema(fcinfo), PG_GETARG_OID(0), PG_GETARG_JSONB_P(1),
						  get_name_argument(fcinfo, 2), get_name_argument(fcinfo, 3), &options,
						  PG_GETARG_BOOL(7));
	if (!OidIsValid(ledger))
		ledger = govern_relation(own_schema(fcinfo), PG_GETARG_OID(0), PG_GETARG_JSONB_P(1),
								 get_name_argument(fcinfo, 2), get_name_argument(fcinfo, 3),
								 &options, PG_GETARG_BOOL(7));
	PG_RETURN_OID(ledger);
}

/*
 * Tells whoever ungoverns a table that was renamed that its ledger, or history, has not
 * the name by which govern would find it: a new one would be begun.
 */
static void
notice_other_name(const RecordKind *kind, Oid relid, const GuardTrigger *guard)
{
	Relation	relation = table_open(relid, NoLock);
	const char *column = strcmp(guard->name, GUARD_TRIGGER) == 0 ? NULL : guard->state_column;
	const char *ledger = record_of_guard(guard, kind);
	char	   *name = makeObjectName(RelationGetRelationName(relation), column, kind->label);
	Oid			existing = get_relname_relid(ledger, RelationGetNamespace(relation));
	bool		found;

	found = strcmp(ledger, name) == 0 || !OidIsValid(existing) ||
		is_ledger_of(existing, relation, column);
	table_close(relation, NoLock);
	if (!found)
		ereport(NOTICE,
				(errmsg("%s \"%s\" keeps its name, although relation \"%s\" has another one by now",
						kind->name, ledger, get_rel_name(relid)),
				 errhint("To govern the relation again with this %s, rename it to \"%s\" first.",
						 kind->name, name)));
}

/*
 * ungovern(relation, state_column): drops the triggers of a lifecycle, or of the only
 * one; the ledger stays, with its own.
 */
Datum
ungovern(PG_FUNCTION_ARGS)
{
	Relation	relation;
	Identity	caller;
	char	   *table;
	List	   *guards;
	GuardTrigger *guard;

	check_not_null(fcinfo, 0, "relation");
	PreventCommandIfReadOnly("ungovern()");
	relation = open_owned_relation(PG_GETARG_OID(0), AccessExclusiveLock);
	/* somebody may have dropped the guard and left the other trigger */
	if (find_trigger(relation, TRUNCATE_TRIGGER) == NULL)
		check_governed_root(relation);
	check_no_shard(relation);
	check_no_events(relation);
	caller = become_owner(relation);
	guards = read_guards(relation);
	guard = choose_guard(guards, get_name_argument(fcinfo, 1), relation);
	table = quoted_name(RelationGetRelid(relation));
	relation_close(relation, NoLock);

	SPI_connect();
	execute_ddl_anywhere(psprintf("DROP TRIGGER IF EXISTS %s ON %s",
								  quote_identifier(guard == NULL ? GUARD_TRIGGER : guard->name), table));
	if (list_length(guards) <= 1)
		execute_ddl_anywhere(psprintf("DROP TRIGGER IF EXISTS %s ON %s", TRUNCATE_TRIGGER, table));
	SPI_finish();
	if (guard != NULL)
		notice_other_name(&ledger_kind, PG_GETARG_OID(0), guard);
	if (guard != NULL && guard->history != NULL)
		notice_other_name(&history_kind, PG_GETARG_OID(0), guard);

	become_caller_again(caller);
	PG_RETURN_VOID();
}

/*
 * extend_lifecycle(relation, transitions, state_column) returns the whole lifecycle as it
 * is then.
 */
Datum
extend_lifecycle(PG_FUNCTION_ARGS)
{
	check_not_null(fcinfo, 0, "relation");
	check_not_null(fcinfo, 1, "transitions");
	PreventCommandIfReadOnly("extend_lifecycle()");
	PG_RETURN_JSONB_P(extend_relation(own_schema(fcinfo), PG_GETARG_OID(0),
									  get_name_argument(fcinfo, 2), PG_GETARG_JSONB_P(1)));
}
