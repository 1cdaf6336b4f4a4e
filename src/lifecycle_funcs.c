/*-------------------------------------------------------------------------
 *
 * lifecycle_funcs.c
 *	  Questions about governed tables.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "errors.h"
#include "governed.h"
#include "identity.h"
#include "session.h"
#include "soundness.h"
#include "swap.h"
#include "verify.h"

PG_FUNCTION_INFO_V1(governed_tables);
PG_FUNCTION_INFO_V1(petition_cas_version);
PG_FUNCTION_INFO_V1(govern_ddl);
PG_FUNCTION_INFO_V1(row_key);
PG_FUNCTION_INFO_V1(evidence_hash);
PG_FUNCTION_INFO_V1(lifecycle);
PG_FUNCTION_INFO_V1(allowed_transitions);
PG_FUNCTION_INFO_V1(is_fate);
PG_FUNCTION_INFO_V1(lifecycle_diagram);

/*
 * Returns the lifecycle of a governed relation and state column, as written in its
 * guard, in the current memory context; raises 55000 if it has none.
 */
static Jsonb *
read_graph(Oid relid, const char *state_column)
{
	Relation	relation = open_relation(relid, AccessShareLock);
	GuardTrigger *guard = choose_guard(read_guards(relation), state_column, relation);

	if (guard == NULL)
		report_not_governed(relation);
	relation_close(relation, AccessShareLock);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(guard->graph)));
}

/*
 * lifecycle(relation, state_column) returns the state graph of a governed relation.
 */
Datum
lifecycle(PG_FUNCTION_ARGS)
{
	check_not_null(fcinfo, 0, "relation");
	PG_RETURN_JSONB_P(read_graph(PG_GETARG_OID(0), get_name_argument(fcinfo, 1)));
}

/*
 * Finds the state that the second argument names in the lifecycle of the
 * relation that the first one names; raises 22023 for one that it does not
 * know.  The lifecycle is returned too.
 */
static int
find_state_argument(FunctionCallInfo fcinfo, const char *name, Lifecycle **parsed)
{
	char	   *state;
	int			number;

	check_not_null(fcinfo, 0, "relation");
	check_not_null(fcinfo, 1, name);
	state = text_to_cstring(PG_GETARG_TEXT_PP(1));
	*parsed = lifecycle_parse(read_graph(PG_GETARG_OID(0), get_name_argument(fcinfo, 2)));
	number = lifecycle_find_name(*parsed, state);
	if (number == NO_STATE)
		report_unknown_state(*parsed, get_rel_name(PG_GETARG_OID(0)), state);
	return number;
}

/*
 * allowed_transitions(relation, from_state, state_column) returns the states it leads to.
 */
Datum
allowed_transitions(PG_FUNCTION_ARGS)
{
	Lifecycle  *parsed;
	int			state = find_state_argument(fcinfo, "from_state", &parsed);
	int			count;
	const char **targets = lifecycle_targets(parsed, state, &count);

	PG_RETURN_DATUM(name_array(targets, count));
}

/*
 * is_fate(relation, state, state_column): does nothing lead out of the state?
 */
Datum
is_fate(PG_FUNCTION_ARGS)
{
	Lifecycle  *parsed;
	int			state = find_state_argument(fcinfo, "state", &parsed);

	PG_RETURN_BOOL(lifecycle_is_fate(parsed, state));
}

/*
 * lifecycle_diagram(relation, state_column) returns a Mermaid stateDiagram-v2.
 */
Datum
lifecycle_diagram(PG_FUNCTION_ARGS)
{
	Jsonb	   *graph;

	check_not_null(fcinfo, 0, "relation");
	graph = read_graph(PG_GETARG_OID(0), get_name_argument(fcinfo, 1));
	PG_RETURN_TEXT_P(cstring_to_text(lifecycle_draw(lifecycle_parse(graph))));
}

/*
 * Appends an argument of govern by its name, as an array of texts.
 */
static void
append_names_argument(StringInfo call, const char *name, const List *names)
{
	const char **texts = palloc(Max(1, list_length(names)) * sizeof(char *));
	int			count = 0;
	ListCell   *cell;

	foreach(cell, names)
		texts[count++] = lfirst(cell);
	appendStringInfo(call, ", %s => %s", name,
					 quote_literal_cstr(OidOutputFunctionCall(F_ARRAY_OUT, name_array(texts, count))));
}

/*
 * Appends the argument that names the key of a guard, which is not the one that govern would
 * choose.  One of several columns cannot be named: it was the primary key, and while there is
 * none nothing else can be meant; raises 55000 if there is another one.
 */
static void
append_key_argument(StringInfo call, Relation relation, const GuardTrigger *guard)
{
	if (list_length(guard->key_columns) == 1)
		appendStringInfo(call, ", key_column => %s", quote_literal_cstr(linitial(guard->key_columns)));
	else if (OidIsValid(primary_key_index(relation)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no call of govern names the key of relation \"%s\"",
						RelationGetRelationName(relation)),
				 errdetail_internal("%s", relation_detail(relation)),
				 errhint("The key, (%s), is no longer the primary key. Make it so again.",
						 name_list(guard->key_columns)),
				 errtable(relation)));
}

/*
 * Returns the call of govern that puts a table under a lifecycle as its guard says.  What
 * has its default value is left out, but for the state column, and the key, which is named
 * where it is not the one that govern would choose.
 */
static char *
govern_call(const char *schema, Relation relation, const GuardTrigger *guard)
{
	Oid			relid = RelationGetRelid(relation);
	Options		options;
	StringInfoData call;

	if (!read_options(guard->options, &options))
		elog(ERROR, "guard \"%s\" has options that govern() does not write", guard->name);
	initStringInfo(&call);
	appendStringInfo(&call, "SELECT %s(%s, %s", quote_qualified_identifier(schema, "govern"),
					 quote_literal_cstr(quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
																   get_rel_name(relid))),
					 quote_literal_cstr(guard->graph));
	if (strcmp(name_list(default_key(relation)), name_list(guard->key_columns)) != 0)
		append_key_argument(&call, relation, guard);
	appendStringInfo(&call, ", state_column => %s", quote_literal_cstr(guard->state_column));
	if (!options.any_initial)
		append_names_argument(&call, "initial_states", options.initial_states);
	if (options.evidence != NIL)
		append_names_argument(&call, "evidence", options.evidence);
	if (!options.keep_rows)
		appendStringInfoString(&call, ", keep_rows => false");
	if (options.history)
		appendStringInfoString(&call, ", history => true");
	appendStringInfoString(&call, ");\n");
	return call.data;
}

/*
 * govern_ddl(relation, state_column) returns the calls of govern that make the relation
 * governed as it is, a line each, the first lifecycle first.
 */
Datum
govern_ddl(PG_FUNCTION_ARGS)
{
	char	   *state_column = get_name_argument(fcinfo, 1);
	StringInfoData calls;
	Relation	relation;
	List	   *guards;
	ListCell   *cell;

	check_not_null(fcinfo, 0, "relation");
	relation = open_relation(PG_GETARG_OID(0), AccessShareLock);
	check_governed_root(relation);
	guards = read_guards(relation);
	if (state_column != NULL)
		guards = list_make1(choose_guard(guards, state_column, relation));
	initStringInfo(&calls);
	foreach(cell, guards)
		appendStringInfoString(&calls, govern_call(own_schema(fcinfo), relation, lfirst(cell)));
	relation_close(relation, AccessShareLock);
	PG_RETURN_TEXT_P(cstring_to_text(calls.data));
}

/*
 * row_key(subject) returns the text of the key of a row of a governed table; null for
 * no row.
 */
Datum
row_key(PG_FUNCTION_ARGS)
{
	Relation	relation = open_subject(fcinfo, AccessShareLock);
	Oid			guard = only_guard(relation);
	Datum		values[MAX_KEY_COLUMNS] = {0};
	Governed   *governed;
	HeapTupleHeader row;

	/* all lifecycles have the same key */
	if (!OidIsValid(guard))
	{
		List	   *guards = read_guards(relation);

		if (guards == NIL)
			report_not_governed(relation);
		guard = ((GuardTrigger *) linitial(guards))->oid;
	}
	governed = get_governed_by(relation, guard);
	check_readable(governed, relation);
	relation_close(relation, NoLock);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	row = PG_GETARG_HEAPTUPLEHEADER(0);
	for (int i = 0; i < governed->key.ncolumns; i++)
	{
		bool		isnull;

		values[i] = GetAttributeByNum(row, governed->key.columns[i].attno, &isnull);
		if (isnull)
			PG_RETURN_NULL();
	}
	PG_RETURN_TEXT_P(cstring_to_text(key_text(&governed->key, values)));
}

/*
 * evidence_hash(subject, state_column) returns the hash of what a decision on a row of a
 * governed table rests on; null for no row.
 */
Datum
evidence_hash(PG_FUNCTION_ARGS)
{
	Relation	relation = open_subject(fcinfo, AccessShareLock);
	Governed   *governed = get_governed(relation, get_name_argument(fcinfo, 1));

	check_readable(governed, relation);
	if (governed->evidence.ncolumns == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("decisions on relation \"%s\" rest on no evidence",
						RelationGetRelationName(relation)),
				 errhint("Govern the relation with evidence => '{...}', the columns that a decision rests on."),
				 errtable(relation)));
	relation_close(relation, NoLock);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(hash_of_row(&governed->evidence, PG_GETARG_HEAPTUPLEHEADER(0))));
}

/*
 * petition_cas_version() returns the version of the library that is loaded.
 */
Datum
petition_cas_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(PETITION_CAS_VERSION));
}

/*
 * Returns an array of names.
 */
static Datum
names_as_array(const List *names)
{
	Datum	   *elements = palloc(Max(1, list_length(names)) * sizeof(Datum));
	int			count = 0;
	ListCell   *cell;

	foreach(cell, names)
		elements[count++] = DirectFunctionCall1(namein, CStringGetDatum(lfirst(cell)));
	return PointerGetDatum(construct_array(elements, count, NAMEOID, NAMEDATALEN, false,
										   TYPALIGN_CHAR));
}

/*
 * Returns the texts of problems as an array.
 */
static Datum
problems_as_array(const List *problems)
{
	const char **texts = palloc(Max(1, list_length(problems)) * sizeof(char *));
	int			count = 0;
	ListCell   *cell;

	foreach(cell, problems)
		texts[count++] = ((Problem *) lfirst(cell))->text;
	return name_array(texts, count);
}

/*
 * Adds a row for each lifecycle of a table.
 */
static void
put_lifecycles(ReturnSetInfo *result, Relation relation)
{
	List	   *partitions = find_all_inheritors(RelationGetRelid(relation), NoLock, NULL);
	ListCell   *cell;

	foreach(cell, read_guards(relation))
	{
		const GuardTrigger *guard = lfirst(cell);
		Oid			ledger = get_relname_relid(guard->ledger, RelationGetNamespace(relation));
		List	   *problems = problems_for_ddl(relation, partitions, guard->state_column);
		Datum		values[8] = {0};
		bool		nulls[8] = {false, false, false, !OidIsValid(ledger)};
		Oid			history = InvalidOid;

		values[0] = ObjectIdGetDatum(RelationGetRelid(relation));
		values[1] = DirectFunctionCall1(namein, CStringGetDatum(guard->state_column));
		values[2] = names_as_array(guard->key_columns);
		values[3] = ObjectIdGetDatum(ledger);
		if (guard->history != NULL)
			history = get_relname_relid(guard->history, RelationGetNamespace(relation));
		values[4] = ObjectIdGetDatum(history);
		nulls[4] = !OidIsValid(history);

		/*
		 * anybody may create a trigger of this name with nonsense on a table
		 * of his own
		 */
		values[5] = JsonbPGetDatum(read_json(guard->graph));
		values[6] = JsonbPGetDatum(read_json(guard->options));
		nulls[5] = DatumGetPointer(values[5]) == NULL;
		nulls[6] = DatumGetPointer(values[6]) == NULL;
		problems = list_concat(problems, imprudences(relation, guard->state_column, true));
		values[7] = problems_as_array(problems);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/*
 * governed_tables() returns each lifecycle of the database that the caller may see: of
 * tables on which he has any right.  It waits for nobody.
 */
Datum
governed_tables(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	foreach(cell, tables_with_guards(own_function(own_schema(fcinfo), "guard_fate")))
	{
		Oid			relid = lfirst_oid(cell);
		Relation	relation;

		CHECK_FOR_INTERRUPTS();
		if ((pg_class_aclmask(relid, GetUserId(), ACL_ALL_RIGHTS_RELATION, ACLMASK_ANY) == 0 &&
			 pg_attribute_aclcheck_all(relid, GetUserId(), ACL_ALL_RIGHTS_COLUMN, ACLMASK_ANY) != ACLCHECK_OK) ||
			(relation = look_at_relation(relid)) == NULL)
			continue;
		put_lifecycles(result, relation);
		RelationClose(relation);
	}
	return (Datum) 0;
}
