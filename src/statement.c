/*-------------------------------------------------------------------------
 *
 * statement.c
 *	  What every statement that we prepare needs: operators that no
 *	  search_path chooses, and the certainty that it was about the relation
 *	  that was meant.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_operator.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/syscache.h"

#include "statement.h"

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
	appendStringInfo(query, " OPERATOR(%s.%s) ",
					 quote_identifier(schema),
					 NameStr(form->oprname));
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
