/*-------------------------------------------------------------------------
 *
 * lifecycle_funcs.c
 *	  Questions about the lifecycle of a governed table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "errors.h"
#include "governed.h"
#include "identity.h"

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
