/*-------------------------------------------------------------------------
 *
 * query.c
 *	  The query that a filter on a source makes, and running it.
 *
 *	  SELECT s.<key> FROM <schema>.<source> AS s
 *	  WHERE s.<field> OPERATOR(<schema>.=) $1			-- field:value
 *	  AND s.<field>::<type> OPERATOR(<schema>.=) $1		-- the same, of a domain
 *	  AND s.<field> OPERATOR(<schema>.=) ANY ($2)		-- field:a|b
 *	  AND (...) IS NOT TRUE								-- -field:value
 *	  AND s.<period> OPERATOR(pg_catalog.@>) $3			-- at
 *	  [ ORDER BY s.<key> USING OPERATOR(<schema>.<)
 *		FOR NO KEY UPDATE [ NOWAIT ] ]
 *
 * Nothing in it depends on the search_path, and nothing of a filter is in it:
 * names are those of the catalogs, quoted, operators those of the default
 * operator class of the column's type, values are parameters.  Both sides of
 * an operator have exactly the types that it is declared for, if need be by a
 * cast, so that no other operator of its name and schema is a better match:
 * anybody can make one for a domain.  It runs with the caller's rights.
 *
 * Rosters are of any table or view and know nothing of governed ones, but that
 * a state which the lifecycle of a column does not have is a mistake in a filter.
 * For that they read the guard's trigger (own_trigger.c), which is all that they
 * take from outside of the ground.
 *
 * What this file allocates is in the current memory context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/stratnum.h"
#include "catalog/pg_class.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "nodes/params.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "errors.h"
#include "filter.h"
#include "lifecycle.h"
#include "own_trigger.h"
#include "query.h"
#include "statement.h"
#include "text_form.h"

/* A column of the source, and how to compare it. */
typedef struct Column
{
	Form_pg_attribute attribute;
	const char *reference;		/* s.<name>, quoted */
	Oid			type;			/* no domain, but may be an array of one */
	int32		typmod;
	Lifecycle  *lifecycle;		/* of which it is the state column; or NULL */
} Column;

/* Where the ids of a running query go. */
typedef struct IdReceiver
{
	DestReceiver receiver;
	IdSet	   *ids;
	uint64		rows;			/* which may have an id several times */
} IdReceiver;

/*
 * Finds a column by its name and describes it; returns false if there is none.
 */
static bool
find_column(Column *column, Relation source, const char *name)
{
	TupleDesc	columns = RelationGetDescr(source);

	for (int i = 0; i < columns->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(columns, i);

		if (attribute->attisdropped || strcmp(NameStr(attribute->attname), name) != 0)
			continue;
		column->attribute = attribute;
		column->reference = psprintf("s.%s", quote_identifier(name));
		column->typmod = attribute->atttypmod;
		column->type = getBaseTypeAndTypmod(attribute->atttypid, &column->typmod);
		column->lifecycle = NULL;
		return true;
	}
	return false;
}

/*
 * Returns a reference to a column as a value of a type, which is the column's
 * own, its base type, or one that needs no conversion.  The cast has no typmod,
 * so that it neither cuts nor rounds.  An array of a domain stays what it is:
 * a cast of that is its owner's to define.
 */
static const char *
column_as(const Column *column, Oid type)
{
	if (type == column->attribute->atttypid)
		return column->reference;
	return psprintf("%s::%s", column->reference,
					format_type_extended(type, -1,
										 FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
}

/*
 * Finds a column that the caller named as an argument.  Raises 42703.
 */
static Column
named_column(Relation source, const char *name)
{
	Column		column;

	if (!find_column(&column, source, name))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						name, RelationGetRelationName(source))));
	return column;
}

/*
 * Raises 42703 for a field that is no column, naming those there are.
 */
pg_noreturn static void
unknown_field(Relation source, const FilterTerm *term)
{
	TupleDesc	columns = RelationGetDescr(source);
	const char **names = palloc(Max(columns->natts, 1) * sizeof(char *));
	int			count = 0;
	StringInfoData detail;
	StringInfoData list;
	char	   *field;

	/* A filter may be long, a name is not. */
	field = pnstrdup(term->field, pg_mbcliplen(term->field, strlen(term->field), NAMEDATALEN));

	initStringInfo(&list);
	for (int i = 0; i < columns->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(columns, i);

		if (attribute->attisdropped)
			continue;
		appendStringInfo(&list, "%s\"%s\"", count > 0 ? ", " : "", NameStr(attribute->attname));
		names[count++] = NameStr(attribute->attname);
	}

	detail_begin(&detail);
	detail_text(&detail, "field", field);
	detail_number(&detail, "position", term->position);
	detail_texts(&detail, "fields", names, count);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("field \"%s\" in filter does not exist", field),
			 errdetail_internal("%s", detail_end(&detail)),
			 errhint("Fields of \"%s\" are %s.", RelationGetRelationName(source), list.data)));
}

/*
 * Finds the default operator of a type for what a term demands; returns
 * InvalidOid if the type has none.
 */
static Oid
default_operator(Oid type, FilterOperator operator)
{
	TypeCacheEntry *entry = lookup_type_cache(type,
											  TYPECACHE_EQ_OPR | TYPECACHE_LT_OPR |
											  TYPECACHE_GT_OPR | TYPECACHE_BTREE_OPFAMILY);
	int			strategy;

	switch (operator)
	{
		case FILTER_ANY_OF:
			return entry->eq_opr;
		case FILTER_LESS:
			return entry->lt_opr;
		case FILTER_GREATER:
			return entry->gt_opr;
		case FILTER_LESS_EQUAL:
			strategy = BTLessEqualStrategyNumber;
			break;
		case FILTER_GREATER_EQUAL:
			strategy = BTGreaterEqualStrategyNumber;
			break;
		default:
			elog(ERROR, "filter operator %d compares nothing", (int) operator);
	}

	/* Without < the type's elements or columns cannot be compared. */
	if (!OidIsValid(entry->lt_opr))
		return InvalidOid;
	return get_opfamily_member(entry->btree_opf, entry->btree_opintype,
							   entry->btree_opintype, strategy);
}

/*
 * As default_operator, for a field; raises 42883 if the type has none.
 */
static Oid
field_operator(const Column *column, const FilterTerm *term, FilterOperator operator)
{
	Oid			result = default_operator(column->type, operator);
	const char *type = format_type_be(column->attribute->atttypid);
	const char *name = filter_operator_name(operator);
	StringInfoData detail;

	if (OidIsValid(result))
		return result;

	detail_begin(&detail);
	detail_text(&detail, "field", term->field);
	detail_number(&detail, "position", term->position);
	detail_text(&detail, "type", type);
	detail_text(&detail, "operator", name);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_FUNCTION),
			 errmsg("type %s of field \"%s\" has no default operator %s", type, term->field, name),
			 errdetail_internal("%s", detail_end(&detail)),
			 errhint("On a field of any type, field:* selects the rows that have a value.")));
}

/*
 * Returns the type to which an operator's operands are to be coerced: what
 * it is declared for, or the column's own type if that is polymorphic.
 */
static Oid
operand_type(const Column *column, Oid operator)
{
	Oid			left;
	Oid			right;

	op_input_types(operator, &left, &right);
	if (IsPolymorphicType(left) || left == RECORDOID)
		return column->type;
	return left;
}

/*
 * Adds a parameter; returns its number, from 1.
 */
static int
add_parameter(RosterQuery *query, Oid type, Datum value)
{
	if (query->nparams == query->capacity)
	{
		query->capacity *= 2;
		query->types = repalloc(query->types, query->capacity * sizeof(Oid));
		query->values = repalloc(query->values, query->capacity * sizeof(Datum));
	}
	query->types[query->nparams] = type;
	query->values[query->nparams] = value;
	return ++query->nparams;
}

/* What value_context tells about. */
typedef struct ValueContext
{
	const FilterTerm *term;
	const FilterValue *value;
} ValueContext;

/*
 * Error context of read_values: names the field.
 */
static void
value_context(void *argument)
{
	ValueContext *context = argument;

	errcontext("field \"%s\" in filter, value at character %d",
			   context->term->field, context->value->position);
}

/*
 * Returns the lifecycle that governs a column of a source, or NULL if none does.
 * Of a guard that makes no sense the reader of a roster hears nothing: whoever
 * writes to the table will.
 *
 * What is caught is an error of argument checks and of parsing, which leave
 * nothing to clean up, so there is no subtransaction; in parallel mode there
 * could be none.
 */
static Lifecycle *
lifecycle_of_column(Relation source, const char *column)
{
	MemoryContext caller = CurrentMemoryContext;
	Lifecycle  *volatile lifecycle = NULL;

	if (source->trigdesc == NULL)
		return NULL;
	PG_TRY();
	{
		ListCell   *cell;

		foreach(cell, read_guards(source))
		{
			const GuardTrigger *guard = lfirst(cell);

			if (strcmp(guard->state_column, column) == 0)
				lifecycle = lifecycle_parse(DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
																			   CStringGetDatum(guard->graph))));
		}
	}
	PG_CATCH();
	{
		int			category = ERRCODE_TO_CATEGORY(geterrcode());

		if (category != ERRCODE_DATA_EXCEPTION && category != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
	}
	PG_END_TRY();
	return lifecycle;
}

/*
 * Checks that a value of a field, of its base type, is a state of its lifecycle,
 * which names states by their text.  Raises 22023.
 */
static void
check_state(const Column *column, const FilterTerm *term, const FilterValue *value, Datum state)
{
	const Lifecycle *lifecycle = column->lifecycle;
	StringInfoData detail;
	const char **names;
	char	   *name;
	Size		length;
	Oid			function;
	bool		is_varlena;

	if (column->type == BOOLOID)
		name = DatumGetBool(state) ? "true" : "false";
	else
	{
		getTypeOutputInfo(column->type, &function, &is_varlena);
		name = OidOutputFunctionCall(function, state);
	}
	length = strlen(name);
	while (column->type == BPCHAROID && length > 0 && name[length - 1] == ' ')
		length--;
	if (lifecycle_find(lifecycle, name, length) != NO_STATE)
		return;

	/* A filter may be long, a name is not. */
	name = pnstrdup(value->text, pg_mbcliplen(value->text, strlen(value->text), NAMEDATALEN));
	names = palloc(lifecycle->nstates * sizeof(char *));
	for (int i = 0; i < lifecycle->nstates; i++)
		names[i] = lifecycle->states[i].name;

	detail_begin(&detail);
	detail_text(&detail, "field", term->field);
	detail_number(&detail, "position", value->position);
	detail_text(&detail, "state", name);
	detail_texts(&detail, "states", names, lifecycle->nstates);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("state \"%s\" of field \"%s\" in filter is not in the lifecycle",
					name, term->field),
			 errdetail_internal("%s", detail_end(&detail)),
			 errhint("The states are: %s.", lifecycle_state_list(lifecycle))));
}

/*
 * Reads values of a term, count from the first one on, with the input function
 * of the field's base type, under the settings of the text form, but without
 * the column's length or precision, as the server reads a literal that is
 * compared with the column.  Returns them as an array.  Where the type is an
 * array of a domain, the values are made such.  Raises what the input
 * function raises, 0A000 for a type whose values are not read, 22023 for a
 * state that is none.
 */
static Datum *
read_values(const Column *column, const FilterTerm *term, int first, int count)
{
	ValueContext context = {.term = term};
	ErrorContextCallback callback;
	FmgrInfo	input;
	Oid			function;
	Oid			ioparam;
	Datum	   *result = palloc(count * sizeof(Datum));
	int32		typmod = -1;
	Oid			type = text_form_type(column->type, &typmod);
	int			level;

	check_nested_domains(type, ROSTER_DOMAIN_HINT);
	getTypeInputInfo(type, &function, &ioparam);
	fmgr_info(function, &input);

	callback.callback = value_context;
	callback.arg = &context;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	level = text_form_begin(type);
	for (int i = 0; i < count; i++)
	{
		context.value = &term->values[first + i];
		result[i] = InputFunctionCall(&input, context.value->text, ioparam, -1);
		if (type != column->type)
			DatumGetArrayTypeP(result[i])->elemtype = get_element_type(column->type);
	}
	text_form_end(level);
	error_context_stack = callback.previous;

	for (int i = 0; column->lifecycle != NULL && i < count; i++)
		check_state(column, term, &term->values[first + i], result[i]);
	return result;
}

/*
 * Appends a comparison of a field with values of a term, count from the first
 * one on.  Several are alternatives, and one array, so that filters with another
 * number of them have the same shape; where the type has no array type, as
 * arrays themselves have none, there is a comparison with each.
 */
static void
append_comparison(StringInfo sql, RosterQuery *query, const Column *column,
				  const FilterTerm *term, FilterOperator operator, int first, int count)
{
	Oid			oper = field_operator(column, term, operator);
	Oid			operand = operand_type(column, oper);
	Oid			array_type = count > 1 ? get_array_type(operand) : InvalidOid;
	Datum	   *values = read_values(column, term, first, count);

	if (OidIsValid(array_type))
	{
		int16		length;
		bool		byval;
		char		align;

		get_typlenbyvalalign(operand, &length, &byval, &align);
		values[0] = PointerGetDatum(construct_array(values, count, operand,
													length, byval, align));
		count = 1;
	}
	for (int i = 0; i < count; i++)
	{
		appendStringInfo(sql, "%s%s ", i > 0 ? " OR " : "", column_as(column, operand));
		append_operator(sql, oper);
		if (OidIsValid(array_type))
			appendStringInfo(sql, " ANY ($%d)", add_parameter(query, array_type, values[i]));
		else
			appendStringInfo(sql, " $%d", add_parameter(query, operand, values[i]));
	}
}

/*
 * Appends the condition that a term makes.  IS DISTINCT FROM NULL, unlike IS
 * NOT NULL, takes a composite value with null columns for the value it is.
 */
static void
append_term(StringInfo sql, RosterQuery *query, Relation source, const FilterTerm *term)
{
	Column		column;

	if (!find_column(&column, source, term->field))
		unknown_field(source, term);
	if (term->operator == FILTER_PRESENT)
	{
		appendStringInfo(sql, "%s IS %sDISTINCT FROM NULL",
						 column.reference, term->negated ? "NOT " : "");
		return;
	}

	column.lifecycle = lifecycle_of_column(source, term->field);
	appendStringInfoChar(sql, '(');
	if (term->operator == FILTER_BETWEEN)
	{
		append_comparison(sql, query, &column, term, FILTER_GREATER_EQUAL, 0, 1);
		appendStringInfoString(sql, " AND ");
		append_comparison(sql, query, &column, term, FILTER_LESS_EQUAL, 1, 1);
	}
	else
		append_comparison(sql, query, &column, term, term->operator, 0, term->nvalues);
	appendStringInfoString(sql, term->negated ? ") IS NOT TRUE" : ")");
}

/*
 * Appends that the period holds the moment; at NULL is the clock's at each
 * run.  Raises 42804 if the column is no tstzrange.
 */
static void
append_period(StringInfo sql, RosterQuery *query, Relation source,
			  const char *period_column, const TimestampTz *at)
{
	Column		column = named_column(source, period_column);

	if (column.type != TSTZRANGEOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("period column \"%s\" of relation \"%s\" is of type %s, not tstzrange",
						period_column, RelationGetRelationName(source),
						format_type_be(column.attribute->atttypid))));

	if (at == NULL)
		query->now_param = query->nparams;
	appendStringInfo(sql, "%s OPERATOR(pg_catalog.@>) $%d", column_as(&column, TSTZRANGEOID),
					 add_parameter(query, TIMESTAMPTZOID, TimestampTzGetDatum(at ? *at : 0)));
}


/*
 * Opens a source; its lock stays until the transaction ends, so that names
 * and columns remain what they were read as.  Raises 42P01, and 42809 if it
 * is neither table nor view.
 */
static Relation
open_source(Oid oid)
{
	Relation	source = try_relation_open(oid, AccessShareLock);

	if (source == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", oid)));

	switch (source->rd_rel->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_VIEW:
		case RELKIND_MATVIEW:
		case RELKIND_FOREIGN_TABLE:
			return source;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("\"%s\" is not a table or view", RelationGetRelationName(source))));
	}
}

/*
 * Builds the query for a filter on a source.  period_column and at may be
 * NULL.  Raises the errors of the filter language, 42703 for a column that
 * does not exist, 42883 for an operator that a field's type does not have,
 * 22023 for at without period_column, the type's own error for a value.
 */
RosterQuery *
roster_query_build(Oid source, text *filter, const char *key_column,
				   const char *period_column, const TimestampTz *at)
{
	RosterQuery *query = palloc0(sizeof(RosterQuery));
	Filter	   *terms;
	Relation	relation;
	Column		key;
	Oid			less;
	StringInfoData sql;

	if (at != NULL && period_column == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"at\" needs argument \"period_column\"")));

	query->now_param = -1;
	query->capacity = 4;
	query->types = palloc(query->capacity * sizeof(Oid));
	query->values = palloc(query->capacity * sizeof(Datum));

	relation = open_source(source);
	key = named_column(relation, key_column);
	query->source = source;
	query->source_name = pstrdup(RelationGetRelationName(relation));
	query->key_type = key.type;
	query->key_typmod = key.typmod;
	query->key_collation = key.attribute->attcollation;

	less = default_operator(key.type, FILTER_LESS);
	if (OidIsValid(less))
	{
		initStringInfo(&sql);
		appendStringInfo(&sql, " ORDER BY %s USING ", column_as(&key, operand_type(&key, less)));
		append_operator(&sql, less);
		query->order = sql.data;
	}

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM %s AS s", column_as(&key, key.type),
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
												query->source_name));
	terms = filter_parse(filter);
	for (int i = 0; i < terms->nterms; i++)
	{
		appendStringInfoString(&sql, i == 0 ? " WHERE " : " AND ");
		append_term(&sql, query, relation, &terms->terms[i]);
	}
	if (period_column != NULL)
	{
		appendStringInfoString(&sql, terms->nterms == 0 ? " WHERE " : " AND ");
		append_period(&sql, query, relation, period_column, at);
	}
	query->sql = sql.data;

	relation_close(relation, NoLock);
	return query;
}

/*
 * Takes one row of a running query.
 */
static bool
receive_id(TupleTableSlot *slot, DestReceiver *self)
{
	bool		isnull;
	Datum		id = slot_getattr(slot, 1, &isnull);

	idset_add(((IdReceiver *) self)->ids, id, isnull);
	((IdReceiver *) self)->rows++;
	return true;
}

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc columns)
{
}

static void
receiver_end(DestReceiver *self)
{
}

/*
 * Returns the text of the query for a run.  Raises 42883 if it is to lock in
 * key order and the key's type has no order.
 */
static const char *
run_sql(const RosterQuery *query, RosterRun how)
{
	if (how == ROSTER_READ)
		return query->sql;
	if (query->order == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("type %s of the key column has no default operator <",
						format_type_be(query->key_type)),
				 errhint("claim_roster locks in the order of the keys.")));
	return psprintf("%s%s FOR NO KEY UPDATE%s", query->sql, query->order,
					how == ROSTER_LOCK_NOWAIT ? " NOWAIT" : "");
}

/*
 * Executes a plan of the query, which sends its rows to the receiver.
 */
static void
execute_roster(RosterQuery *query, SPIPlanPtr plan, bool read_only, IdReceiver *receiver)
{
	SPIExecuteOptions options = {0};
	int			result;
	ListCell   *cell;

	/* Not all who look into a query expect an empty list of parameters. */
	if (query->nparams > 0)
		options.params = makeParamList(query->nparams);
	for (int i = 0; i < query->nparams; i++)
	{
		options.params->params[i].value = query->values[i];
		options.params->params[i].isnull = false;
		options.params->params[i].pflags = PARAM_FLAG_CONST;
		options.params->params[i].ptype = query->types[i];
	}
	options.read_only = read_only;
	options.dest = &receiver->receiver;
	result = SPI_execute_plan_extended(plan, &options);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan_extended failed: %s", SPI_result_code_string(result));

	query->row_security = false;
	check_plan_relation(plan, query->source);
	foreach(cell, SPI_plan_get_plan_sources(plan))
		query->row_security |= ((CachedPlanSource *) lfirst(cell))->dependsOnRLS;
}

/*
 * Runs the query and returns its ids, as a finished set below the current
 * memory context.  Rows go straight from the executor into the set.
 *
 * ROSTER_READ sees what the active snapshot sees; the others see, at READ
 * COMMITTED, a snapshot of their own, taken now.
 */
IdSet *
roster_query_run(RosterQuery *query, RosterRun how)
{
	IdReceiver	receiver = {
		.receiver = {
			.receiveSlot = receive_id,
			.rStartup = receiver_startup,
			.rShutdown = receiver_end,
			.rDestroy = receiver_end,
			.mydest = DestTuplestore
		}
	};
	Statement	statement = {0};
	KeptPlan   *plan;

	receiver.ids = idset_create(query->key_type, query->key_typmod);
	if (query->now_param >= 0)
		query->values[query->now_param] = TimestampTzGetDatum(GetCurrentTimestamp());

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	statement.relid = query->source;
	statement.sql = run_sql(query, how);
	statement.nparameters = query->nparams;
	statement.types = query->types;
	statement.options = how == ROSTER_READ ? CURSOR_OPT_PARALLEL_OK : 0;
	statement_hash(&statement);
	plan = acquire_plan(&statement);
	execute_roster(query, plan_of(plan), how == ROSTER_READ, &receiver);
	release_plan(plan);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");

	query->rows = receiver.rows;
	idset_finish(receiver.ids);
	return receiver.ids;
}
