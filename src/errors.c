/*-------------------------------------------------------------------------
 *
 * errors.c
 *	  What the losers are told, and the JSON of the DETAILs.
 *
 * Each of our own errors has one JSON object as its DETAIL.  The members are
 * written as text, not through jsonb, because jsonb sorts them and these are
 * also read by people: the row first, then what was asked, then what is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

#include "errors.h"
#include "shard.h"

/*
 * Starts the name of a member: a comma unless it is the first, the quoted
 * name and a colon.
 */
static void
detail_name(StringInfo detail, const char *name)
{
	if (detail->data[detail->len - 1] != '{')
		appendStringInfoString(detail, ", ");
	escape_json(detail, name);
	appendStringInfoString(detail, ": ");
}

/*
 * Starts a JSON object in a new StringInfo, allocated in the current memory
 * context.
 */
void
detail_begin(StringInfo detail)
{
	initStringInfo(detail);
	appendStringInfoChar(detail, '{');
}

/*
 * Adds a member with a string, or with null where value is NULL.
 */
void
detail_text(StringInfo detail, const char *name, const char *value)
{
	detail_name(detail, name);
	if (value == NULL)
		appendStringInfoString(detail, "null");
	else
		escape_json(detail, value);
}

/*
 * Adds a member with an array of count strings.
 */
void
detail_texts(StringInfo detail, const char *name, const char **values, int count)
{
	detail_name(detail, name);
	appendStringInfoChar(detail, '[');
	for (int i = 0; i < count; i++)
	{
		if (i > 0)
			appendStringInfoString(detail, ", ");
		escape_json(detail, values[i]);
	}
	appendStringInfoChar(detail, ']');
}

/*
 * Adds a member with a whole number.
 */
void
detail_number(StringInfo detail, const char *name, int64 value)
{
	detail_name(detail, name);
	appendStringInfo(detail, INT64_FORMAT, value);
}

/*
 * Adds a member with a moment in ISO 8601, in the session's time zone, as the
 * server's own JSON functions write it.
 */
void
detail_timestamp(StringInfo detail, const char *name, TimestampTz value)
{
	char		iso[MAXDATELEN + 1];

	JsonEncodeDateTime(iso, TimestampTzGetDatum(value), TIMESTAMPTZOID, NULL);
	detail_text(detail, name, iso);
}

/*
 * Ends the object; returns its text, which belongs to the StringInfo.
 */
char *
detail_end(StringInfo detail)
{
	appendStringInfoChar(detail, '}');
	return detail->data;
}

/*
 * Returns the name of a relation with its schema, whatever the search_path.  For a
 * shard, that of its table, which is all that a client knows.
 */
char *
qualified_name(Relation relation)
{
	const char *schema = get_namespace_name(RelationGetNamespace(relation));
	Oid			whole = table_of_shard(RelationGetRelid(relation));

	if (schema == NULL)
		elog(ERROR, "cache lookup failed for namespace %u", RelationGetNamespace(relation));
	return quote_qualified_identifier(schema, OidIsValid(whole) ? get_rel_name(whole) :
									  RelationGetRelationName(relation));
}

/*
 * Starts a DETAIL with the relation that it is about.
 */
static void
detail_begin_relation(StringInfo detail, Relation relation)
{
	detail_begin(detail);
	detail_text(detail, "relation", qualified_name(relation));
}

/*
 * Returns a DETAIL that tells the relation alone.
 */
char *
relation_detail(Relation relation)
{
	StringInfoData detail;

	detail_begin_relation(&detail, relation);
	return detail_end(&detail);
}

/*
 * Returns a DETAIL that tells a relation and a column of it.
 */
char *
column_detail(Relation relation, const char *column)
{
	StringInfoData detail;

	detail_begin_relation(&detail, relation);
	detail_text(&detail, "column", column);
	return detail_end(&detail);
}

/*
 * Returns a DETAIL with what is wrong with a relation, a list of char *, each of
 * them as verify_fates tells it.
 */
char *
problems_detail(Relation relation, const List *problems)
{
	const char **texts = palloc(Max(1, list_length(problems)) * sizeof(char *));
	int			count = 0;
	StringInfoData detail;
	ListCell   *cell;

	foreach(cell, problems)
		texts[count++] = lfirst(cell);
	detail_begin_relation(&detail, relation);
	detail_texts(&detail, "problems", texts, count);
	return detail_end(&detail);
}

/*
 * Returns the DETAIL of PF001 to PF004, and of PF007.  Where the row's values are withheld,
 * it tells the relation and what was asked, which the caller knows already.
 *
 * A current_state of null has two meanings, and row_exists, which follows it
 * only then, tells which it is.
 */
static char *
refusal_detail(const Refusal *refusal)
{
	StringInfoData detail;

	if (refusal->is_petition)
	{
		detail_begin(&detail);
		detail_text(&detail, "submission_id", refusal->key);
	}
	else
	{
		detail_begin_relation(&detail, refusal->relation);
		if (refusal->key != NULL)
			detail_text(&detail, "key", refusal->key);
	}
	detail_text(&detail, "expected_state", refusal->expected_state);
	if (refusal->key != NULL)
	{
		detail_text(&detail, "current_state", refusal->current_state);
		if (refusal->current_state == NULL)
		{
			detail_name(&detail, "row_exists");
			appendStringInfoString(&detail, refusal->is_missing ? "false" : "true");
		}
	}
	detail_text(&detail, "new_state", refusal->new_state);
	if (refusal->key != NULL && refusal->ledger_fate != NULL)
		detail_text(&detail, "fate", refusal->ledger_fate);
	if (refusal->key != NULL && refusal->nallowed >= 0)
		detail_texts(&detail, "allowed", refusal->allowed, refusal->nallowed);
	if (refusal->assigned_by != NULL)
	{
		detail_timestamp(&detail, "assigned_at", refusal->assigned_at);
		detail_text(&detail, "assigned_by", refusal->assigned_by);
		if (refusal->reason != NULL)
			detail_text(&detail, "reason", refusal->reason);
		if (refusal->request_id != NULL)
			detail_text(&detail, "request_id", refusal->request_id);
	}
	if (refusal->evidence_hash != NULL)
		detail_text(&detail, "evidence_hash", refusal->evidence_hash);
	return detail_end(&detail);
}

/*
 * Raises an error about a row; after its SQLSTATE come errmsg and, where there
 * is something to advise, errhint.
 */
#define report_refusal(refusal, sqlstate, ...) \
	ereport(ERROR, errcode(sqlstate), errdetail_internal("%s", refusal_detail(refusal)), \
			errtable((refusal)->relation), __VA_ARGS__)

/*
 * Raises PF001: the row is not, or is no longer, as the caller expected it.
 */
void
report_concurrent_modification(const Refusal *refusal)
{
	const char *relation = RelationGetRelationName(refusal->relation);
	const char *found = refusal->current_state;

	if (refusal->is_missing)
		report_refusal(refusal, ERRCODE_CONCURRENT_MODIFICATION,
					   errmsg("concurrent modification of row \"%s\" of relation \"%s\": expected state \"%s\", found it deleted",
							  refusal->key, relation, refusal->expected_state));
	else if (found == NULL)
		report_refusal(refusal, ERRCODE_CONCURRENT_MODIFICATION,
					   errmsg("concurrent modification of row \"%s\" of relation \"%s\": expected state \"%s\", found null",
							  refusal->key, relation, refusal->expected_state),
					   errhint("Nothing was changed. No row gets a null state under the guard. SELECT * FROM verify_fates(%s), as the owner of the relation, lists the rows that have one.",
							   quote_literal_cstr(qualified_name(refusal->relation))));
	else if (strcmp(found, refusal->expected_state) == 0 && !refusal->is_fated)
		report_refusal(refusal, ERRCODE_CONCURRENT_MODIFICATION,
					   errmsg("concurrent modification of row \"%s\" of relation \"%s\", which is in state \"%s\"",
							  refusal->key, relation, found),
					   IsolationUsesXactSnapshot() ?
					   errhint("Nothing was changed. The row was changed after this transaction's snapshot: begin a new transaction and read it again.") :
					   errhint("Nothing was changed. The row was changed while the call ran, and was not in the expected state when it was to be updated: read it again and decide anew."));
	else
		report_refusal(refusal, ERRCODE_CONCURRENT_MODIFICATION,
					   errmsg("concurrent modification of row \"%s\" of relation \"%s\": expected state \"%s\", found \"%s\"",
							  refusal->key, relation, refusal->expected_state, found),
					   refusal->is_fated ?
					   errhint("Nothing was changed. \"%s\" is a fate, which is for ever: do not try again.", found) :
					   errhint("Nothing was changed. Read the row again and decide on the state that it has now."));
}

/*
 * Raises PF002: the key has its fate already.
 */
void
report_already_fated(const Refusal *refusal)
{
	const char *relation = RelationGetRelationName(refusal->relation);

	if (refusal->key == NULL || refusal->current_state == NULL)
		report_refusal(refusal, ERRCODE_ALREADY_FATED,
					   errmsg("row of relation \"%s\" already has a fate", relation));
	report_refusal(refusal, ERRCODE_ALREADY_FATED,
				   errmsg("row \"%s\" of relation \"%s\" already has the fate \"%s\"",
						  refusal->key, relation, refusal->current_state),
				   refusal->assigned_by == NULL ? 0 :
				   errhint("A fate is for ever. If it was assigned by you, at the time in the detail, then your earlier attempt went through."));
}

/*
 * Raises PF007: the row is in the expected state, but not as it was seen.
 */
void
report_evidence_changed(const Refusal *refusal)
{
	report_refusal(refusal, ERRCODE_EVIDENCE_CHANGED,
				   errmsg("row \"%s\" of relation \"%s\" has changed since it was seen",
						  refusal->key, RelationGetRelationName(refusal->relation)),
				   errhint("Nothing was changed. The row does not have the evidence of seen_hash: read it again, and decide on what it holds now."));
}

/*
 * Raises PF003: the lifecycle does not lead from the one state to the other.
 */
void
report_invalid_transition(const Refusal *refusal)
{
	const char *relation = RelationGetRelationName(refusal->relation);
	StringInfoData allowed;

	if (refusal->key == NULL || refusal->current_state == NULL)
		report_refusal(refusal, ERRCODE_INVALID_STATE_TRANSITION,
					   errmsg("row of relation \"%s\" cannot go to state \"%s\"",
							  relation, refusal->new_state));
	initStringInfo(&allowed);
	for (int i = 0; i < refusal->nallowed; i++)
		appendStringInfo(&allowed, "%s\"%s\"", i > 0 ? ", " : "", refusal->allowed[i]);
	report_refusal(refusal, ERRCODE_INVALID_STATE_TRANSITION,
				   errmsg("row \"%s\" of relation \"%s\" cannot go from state \"%s\" to \"%s\"",
						  refusal->key, relation, refusal->current_state, refusal->new_state),
				   refusal->nallowed == 0 ?
				   errhint("The lifecycle does not know \"%s\", so it leads nowhere. extend_lifecycle can add it.",
						   refusal->current_state) :
				   errhint("The lifecycle leads from \"%s\" to: %s.", refusal->current_state, allowed.data));
}

/*
 * Raises PF003: a row is inserted in a state in which none begins.
 */
void
report_not_initial(const Refusal *refusal)
{
	StringInfoData allowed;

	initStringInfo(&allowed);
	for (int i = 0; i < refusal->nallowed; i++)
		appendStringInfo(&allowed, "%s\"%s\"", i > 0 ? ", " : "", refusal->allowed[i]);
	report_refusal(refusal, ERRCODE_INVALID_STATE_TRANSITION,
				   errmsg("row of relation \"%s\" cannot be inserted in state \"%s\"",
						  RelationGetRelationName(refusal->relation), refusal->new_state),
				   errhint("Rows begin in one of the states: %s.", allowed.data));
}

/*
 * Raises PF003: the state is one that the lifecycle allows, but no fate.
 */
void
report_not_a_fate(const Refusal *refusal)
{
	report_refusal(refusal, ERRCODE_INVALID_STATE_TRANSITION,
				   errmsg("cannot assign state \"%s\" to row \"%s\" of relation \"%s\" as its fate",
						  refusal->new_state, refusal->key,
						  RelationGetRelationName(refusal->relation)),
				   errhint("\"%s\" is a state that leads on. Use compare_and_swap for transitions between such states.",
						   refusal->new_state));
}

/*
 * Raises PF004: there is no such row, or none that the caller may see.
 */
void
report_not_found(const Refusal *refusal)
{
	report_refusal(refusal, ERRCODE_SUBMISSION_NOT_FOUND,
				   errmsg("row \"%s\" of relation \"%s\" does not exist",
						  refusal->key, RelationGetRelationName(refusal->relation)));
}

/*
 * Raises PF002: the row is open, is gone or is about to be inserted, but the
 * ledger holds a fate for its key.  Which one that is, the caller of this tells
 * in ledger_fate if it is known and may be shown.
 */
void
report_ledger_conflict(const Refusal *refusal, const char *ledger)
{
	const char *relation = RelationGetRelationName(refusal->relation);
	Refusal		conflict = *refusal;

	/* a row with a null state can go to no fate: this one is being inserted */
	conflict.is_missing = conflict.current_state == NULL;
	/* the row can have no other fate, whatever the lifecycle allows */
	conflict.nallowed = -1;

	if (conflict.key == NULL)
		report_refusal(&conflict, ERRCODE_ALREADY_FATED,
					   errmsg("row of relation \"%s\" already has a fate in ledger \"%s\"",
							  relation, ledger),
					   errhint("The ledger holds a fate for this key from an earlier row or an import, and fates are for ever: do not try again. The owner of the relation finds it in the ledger."));
	if (conflict.ledger_fate == NULL)
		report_refusal(&conflict, ERRCODE_ALREADY_FATED,
					   errmsg("row \"%s\" of relation \"%s\" already has a fate in ledger \"%s\"",
							  conflict.key, relation, ledger),
					   errhint("The ledger holds a fate for this key from an earlier row or an import, and fates are for ever: do not try again. The ledger's row tells which it is, and who assigned it when."));
	report_refusal(&conflict, ERRCODE_ALREADY_FATED,
				   errmsg("row \"%s\" of relation \"%s\" already has the fate \"%s\" in ledger \"%s\"",
						  conflict.key, relation, conflict.ledger_fate, ledger),
				   errhint("The ledger holds this fate from an earlier row or an import, and fates are for ever: do not try again. The ledger's row tells who assigned it when. What is to be decided anew needs a row with a key of its own."));
}

/*
 * Raises 55000: fates of this relation could be lost, recorded wrongly or
 * assigned twice, and so none is assigned.  problems is a list of char *, each
 * of them what is wrong, as verify_fates tells it.
 */
void
report_unsound(Relation relation, const List *problems)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("governed relation \"%s\" is unsound and assigns no fates",
					RelationGetRelationName(relation)),
			 errdetail_internal("%s", problems_detail(relation, problems)),
			 errhint("SELECT * FROM verify_fates(%s), as the owner of the relation, lists the problems, and docs/operations.md tells how to repair each.",
					 quote_literal_cstr(qualified_name(relation))),
			 errtable(relation)));
}

/*
 * Raises 22004 for a null argument.  Our functions are not strict: a null that
 * quietly returns null would look like success.
 */
void
check_not_null(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
}

/*
 * Returns an argument of type name; NULL if it is null.
 */
char *
get_name_argument(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : pstrdup(NameStr(*PG_GETARG_NAME(argument)));
}

/*
 * Returns a text argument; raises 22004 if it is null.
 */
char *
get_text_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	check_not_null(fcinfo, argument, name);
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

/*
 * Returns whether it is the error by which the server refuses, above READ
 * COMMITTED, to update or lock a row that has changed since the transaction's
 * snapshot.  Other errors have the same SQLSTATE; the message tells them apart,
 * whatever language it is shown in.  One that comes from another node has no
 * message_id of its own, only its text, in English or, if that node has the same
 * lc_messages, in the language of this session.
 */
bool
is_row_conflict(const ErrorData *error)
{
	static const char *const messages[] = {
		"could not serialize access due to concurrent update",
		"could not serialize access due to concurrent delete",
		"tuple to be locked was already moved to another partition due to concurrent update"
	};

	if (error->sqlerrcode != ERRCODE_T_R_SERIALIZATION_FAILURE)
		return false;
	for (int i = 0; i < lengthof(messages); i++)
	{
		if ((error->message_id != NULL && strcmp(error->message_id, messages[i]) == 0) ||
			(error->message != NULL &&
			 (strcmp(error->message, messages[i]) == 0 ||
			  strcmp(error->message, _(messages[i])) == 0)))
			return true;
	}
	return false;
}
