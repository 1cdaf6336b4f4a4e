/*-------------------------------------------------------------------------
 *
 * roster_state.c
 *	  What a roster knows of lifecycles: which states a column may have.
 *
 * Rosters are of any table or view and know nothing else of governed ones, so
 * this is the one place where they ask what governs a table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "governed.h"
#include "roster_state.h"

/*
 * Reads the lifecycle of a relation's guard if it is that of a column, else
 * returns NULL.  Raises errors of class 22 or 54 for a guard that makes no sense.
 */
static Lifecycle *
read_lifecycle(Relation source, const char *column)
{
	GuardTrigger guard;
	Datum		graph;

	if (!read_guard(source, &guard) || strcmp(guard.state_column, column) != 0)
		return NULL;
	graph = DirectFunctionCall1(jsonb_in, CStringGetDatum(guard.graph));
	return lifecycle_parse(DatumGetJsonbP(graph));
}

/*
 * Returns the lifecycle that governs a column of a source, in the current
 * memory context, or NULL if none does.  Of a guard that makes no sense the
 * reader of a roster hears nothing: whoever writes to the table will.
 *
 * What is caught is an error of argument checks and of parsing, which leave
 * nothing to clean up, so there is no subtransaction; in parallel mode there
 * could be none.
 */
Lifecycle *
lifecycle_of_column(Relation source, const char *column)
{
	MemoryContext caller = CurrentMemoryContext;
	Lifecycle  *volatile lifecycle = NULL;

	if (source->trigdesc == NULL)
		return NULL;
	PG_TRY();
	{
		lifecycle = read_lifecycle(source, column);
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
 * Tells whether a value of a state column, of this base type, is a state of a
 * lifecycle, which names states by their text.
 */
bool
lifecycle_has_value(const Lifecycle *lifecycle, Oid type, Datum value)
{
	Oid			function;
	bool		is_varlena;
	char	   *name;
	Size		length;

	if (type == BOOLOID)
		name = DatumGetBool(value) ? "true" : "false";
	else
	{
		getTypeOutputInfo(type, &function, &is_varlena);
		name = OidOutputFunctionCall(function, value);
	}

	length = strlen(name);
	while (type == BPCHAROID && length > 0 && name[length - 1] == ' ')
		length--;
	return lifecycle_find(lifecycle, name, length) != NO_STATE;
}
