/*-------------------------------------------------------------------------
 *
 * soundness.c
 *	  What a sound governed table and a sound ledger are: one list of problems.
 *
 * Everybody who judges a table asks here, and each forgives something else:
 *
 *	- govern asks of a table before it has triggers (table_problems), and of a
 *	  ledger that it takes over, whose triggers it creates anew
 *	  (ledger_problems).  It forgives nothing else: each problem has the
 *	  SQLSTATE with which it refuses it.
 *	- The guard, and the swaps, ask before a fate is written (check_sound).
 *	  They forgive nothing: where a second fate, a lost or a wrong record would
 *	  be possible, there is no fate.  What was found is remembered until one of
 *	  the relations that it rests on is invalidated, so that it costs a call
 *	  nothing.
 *	- The event triggers ask before and after a command on a table or a ledger
 *	  (problems_for_ddl), without waiting for a lock.  They forgive what was so before the command: a
 *	  restore builds a table step by step, and whoever repairs one need not do
 *	  it in one command.  A plain CREATE TRIGGER is forgiven what is passing: a
 *	  trigger that does not fire always yet, others of ours that are missing, a
 *	  key without an index, a ledger that is not there or has no primary key; and
 *	  a lifecycle that does not fit the column, which hinders nobody else.
 *	- verify_fates tells all of it, and what is merely imprudent as well
 *	  (imprudences): rights of others on the ledger, triggers and unique indexes
 *	  of the user's on it, event triggers that are off.  Such things can hinder,
 *	  or forge a record by whoever was given the right; they can give no second
 *	  fate.
 *
 * A BEFORE INSERT trigger on the ledger is among the imprudent ones: what it
 * left is read back and compared (guard.c).
 *
 * A column's number is looked up in the relation's own descriptor, not in the
 * system cache: a new backend has the former, and would fill the latter for
 * the first fate alone.
 *
 * All that is returned is allocated in the current memory context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_event_trigger.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "parser/parse_relation.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "errors.h"
#include "ledger.h"
#include "soundness.h"

/* What a look at a table and its ledger has found */
typedef struct Findings
{
	List	   *problems;
	Oid			about;			/* the relation that is being looked at */
	bool		unlocked;		/* in: other relations are looked at without a
								 * lock */
	bool		all_partitions; /* in: look at the guards of all, */
	const List *partitions;		/* or at those of these OIDs */
	Oid			ledger;
	List	   *ledger_keys;	/* names of its unique indexes on the key */
	bool		before_trigger; /* does one see its new rows? */
	List	   *watched;		/* OIDs of all that this rests on */
} Findings;

/* What event triggers advise who would leave a problem behind */
#define KEEP_HINT \
	"While the table is governed this has to stay: without it a second fate, or a lost record, would be possible."
#define TRIGGER_HINT \
	"It has to fire always, which ALTER TABLE ... ENABLE TRIGGER ends too. Name your own triggers; to restore data, set session_replication_role to replica."

/*
 * Adds a problem.
 */
static void
add_problem(Findings *findings, int sqlerrcode, const char *hint, char *text)
{
	Problem    *problem = palloc0(sizeof(Problem));

	problem->text = text;

	problem->about = findings->about;
	problem->sqlerrcode = sqlerrcode;
	problem->hint = hint;
	problem->refusal_hint = KEEP_HINT;
	findings->problems = lappend(findings->problems, problem);
}

/*
 * Returns a relation that nobody need hold a lock on, to be closed by
 * RelationClose; or NULL if it is not there.  To wait for a lock where DDL is
 * judged, while the command's own are held, could close a circle, as the jobs of
 * a parallel restore do.  What the command itself has changed is locked by it; of
 * the rest, what is committed is seen, and who is at work on it is judged himself.
 *
 * What can be had without waiting is locked while it is read: somebody else's
 * commit in the midst of that would make the catalogs seem to be damaged.
 */
Relation
look_at_relation(Oid relid)
{
	bool		locked = ConditionalLockRelationOid(relid, AccessShareLock);
	Relation	relation = RelationIdGetRelation(relid);

	if (locked)
		UnlockRelationOid(relid, AccessShareLock);
	return relation;
}

/*
 * Opens another relation to look at; returns NULL if it is not there (any
 * more).
 */
static Relation
look_at(const Findings *findings, Oid relid)
{
	return findings->unlocked ? look_at_relation(relid) :
		try_relation_open(relid, AccessShareLock);
}

static void
look_away(const Findings *findings, Relation relation)
{
	if (findings->unlocked)
		RelationClose(relation);
	else
		relation_close(relation, AccessShareLock);
}

/*
 * Marks the problem that was added last as one that the drop of something else
 * leaves behind, by CASCADE.
 */
static void
mark_droppable(Findings *findings)
{
	((Problem *) llast(findings->problems))->droppable = true;
}

/*
 * Marks the problem that was added last as one that can be had by altering table
 * and ledger alike, while the table is not governed.
 */
static void
mark_alterable(Findings *findings)
{
	((Problem *) llast(findings->problems))->refusal_hint = UNGOVERN_HINT;
}

/*
 * Marks the problem that was added last as one that a restore leaves behind
 * between two of its commands.
 */
static void
mark_passing(Findings *findings)
{
	((Problem *) llast(findings->problems))->passing = true;
}

static void
add_imprudence(Findings *findings, char *text)
{
	add_problem(findings, 0, NULL, psprintf("imprudent: %s", text));
	((Problem *) llast(findings->problems))->imprudent = true;
}

/* ----------------------------------------------------------------------
 * Keys
 * ----------------------------------------------------------------------
 */

/*
 * Returns an OID or collation of the first column of an index, from a column of
 * its row in pg_index that is an oidvector.
 */
static Oid
first_oid(HeapTuple index, AttrNumber attribute)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(INDEXRELID, index, attribute, &isnull);

	return isnull ? InvalidOid : ((oidvector *) DatumGetPointer(value))->values[0];
}

/*
 * Is the index, given by its row in pg_index, a valid, immediate, total unique
 * index on that column alone, by the column type's own equality?
 */
static bool
is_key_index(HeapTuple index, Form_pg_attribute key)
{
	Form_pg_index form = (Form_pg_index) GETSTRUCT(index);
	Oid			opclass = first_oid(index, Anum_pg_index_indclass);
	Oid			type = get_opclass_input_type(opclass);
	Oid			equality = lookup_type_cache(getBaseType(key->atttypid), TYPECACHE_EQ_OPR)->eq_opr;

	return form->indisunique && !form->indisexclusion &&
		form->indisvalid && form->indisready && form->indislive && form->indimmediate &&
		form->indnkeyatts == 1 && form->indkey.values[0] == key->attnum &&
		heap_attisnull(index, Anum_pg_index_indpred, NULL) &&
		first_oid(index, Anum_pg_index_indcollation) == key->attcollation &&
		get_opfamily_member(get_opclass_family(opclass), type, type,
							BTEqualStrategyNumber) == equality;
}

/*
 * Returns the OIDs of the indexes that make a column of the relation a key.
 * They are read from the catalog, not opened: who works on an index, such as a
 * restore that attaches it, shall not be waited for.
 */
static List *
key_indexes(Relation relation, AttrNumber attno)
{
	Form_pg_attribute key = TupleDescAttr(RelationGetDescr(relation), attno - 1);
	List	   *found = NIL;
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(relation))
	{
		HeapTuple	index = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));

		if (!HeapTupleIsValid(index))
			continue;
		if (is_key_index(index, key))
			found = lappend_oid(found, lfirst_oid(cell));
		ReleaseSysCache(index);
	}
	return found;
}

/*
 * Has the relation a column of that name that is a key, by an index other than
 * the one excepted (InvalidOid: by any)?
 */
bool
has_key_index(Relation relation, const char *column, Oid except)
{
	AttrNumber	attno = attnameAttNum(relation, column, false);

	return attno > 0 && list_delete_oid(key_indexes(relation, attno), except) != NIL;
}

/* ----------------------------------------------------------------------
 * The table
 * ----------------------------------------------------------------------
 */

/*
 * Has the relation an inheritance child, of whatever kind?  A partitioned
 * table's partitions are none.
 */
static bool
has_children(Relation relation)
{
	return relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE &&
		relation->rd_rel->relhassubclass &&
		find_inheritance_children(RelationGetRelid(relation), NoLock) != NIL;
}

/*
 * Looks at what kind of relation it is; returns false for one that has nothing
 * else to be looked at.
 */
static bool
find_kind_problems(Findings *findings, Relation relation)
{
	char		relkind = relation->rd_rel->relkind;

	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
	{
		add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE, "Govern the table below it.",
					pstrdup("it is not a table"));
		return false;
	}
	if (IsSystemRelation(relation))
		add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE, NULL,
					pstrdup("it is a system catalog"));
	if (RelationUsesLocalBuffers(relation))
		add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE,
					"Nobody else can decide on its rows, and nothing of it stays.",
					pstrdup("it is a temporary table"));
	if (relation->rd_rel->relispartition)
		add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE,
					"Govern the partitioned table that it belongs to.",
					pstrdup("it is a partition"));
	else if (has_superclass(RelationGetRelid(relation)) || has_children(relation))
		add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE,
					"A trigger on one table of an inheritance tree does not see the rows of the others. Use declarative partitioning.",
					pstrdup("it is an inheritance parent or child"));
	if (is_ledger(relation))
		add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE, NULL, pstrdup("it is a ledger"));
	return true;
}

/*
 * Is a type temporary, or made of one that is?  What is made of it vanishes with
 * the session that created it, and no event trigger is asked.
 */
static bool
is_temporary(Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Form_pg_type form;
	Oid			parts[2];
	Oid			composite;
	bool		temporary;

	check_stack_depth();
	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_type) GETSTRUCT(tuple);
	temporary = isAnyTempNamespace(form->typnamespace);
	parts[0] = form->typbasetype;
	parts[1] = form->typtype == TYPTYPE_RANGE ? get_range_subtype(type) : form->typelem;
	composite = form->typrelid;
	ReleaseSysCache(tuple);

	for (int i = 0; i < lengthof(parts) && !temporary; i++)
		temporary = OidIsValid(parts[i]) && is_temporary(parts[i]);
	if (OidIsValid(composite) && !temporary)
	{
		TupleDesc	desc = lookup_rowtype_tupdesc_copy(type, -1);

		for (int i = 0; i < desc->natts && !temporary; i++)
			temporary = !TupleDescAttr(desc, i)->attisdropped &&
				is_temporary(TupleDescAttr(desc, i)->atttypid);
	}
	return temporary;
}

/*
 * Returns the column of that name, or NULL, and the problem that it is not
 * there.
 */
static Form_pg_attribute
find_column(Findings *findings, Relation relation, const char *what, const char *column)
{
	AttrNumber	attno = attnameAttNum(relation, column, false);

	if (attno > InvalidAttrNumber)
	{
		Form_pg_attribute found = TupleDescAttr(RelationGetDescr(relation), attno - 1);

		if (is_temporary(found->atttypid))
			add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE,
						"Give the column a type that stays.",
						psprintf("%s column \"%s\" is of a temporary type", what, column));
		return found;
	}
	add_problem(findings, ERRCODE_UNDEFINED_COLUMN,
				"Give the columns to govern as key_column and state_column.",
				psprintf("%s column \"%s\" does not exist", what, column));
	mark_droppable(findings);
	mark_alterable(findings);
	return NULL;
}

static void
find_key_problems(Findings *findings, Relation relation, const char *column)
{
	Form_pg_attribute key = find_column(findings, relation, "key", column);
	List	   *indexes;

	if (key == NULL)
		return;
	indexes = key_indexes(relation, key->attnum);
	findings->watched = list_concat(findings->watched, indexes);
	if (indexes == NIL)
	{
		add_problem(findings, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					"The key is one column with a primary key, or another unique index that is valid, not deferrable and not partial. A key of several columns cannot be governed.",
					psprintf("key column \"%s\" has no unique index of its own", column));
		mark_droppable(findings);
		mark_passing(findings);
	}
	if (!column_is_not_null(RelationGetDescr(relation), key->attnum))
	{
		add_problem(findings, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					psprintf("ALTER TABLE ... ALTER COLUMN %s SET NOT NULL.",
							 quote_identifier(column)),
					psprintf("key column \"%s\" may be null", column));
		mark_passing(findings);
	}
	if (is_ledger_column(column))
		add_problem(findings, ERRCODE_DUPLICATE_COLUMN, "Rename the key column.",
					psprintf("key column \"%s\" has the name of a column of the ledger", column));
}

/*
 * Looks at the state column, and whether it can hold every state of the
 * lifecycle, which is given as its JSON.
 */
static void
find_state_problems(Findings *findings, Relation relation, const char *column, const char *graph)
{
	Form_pg_attribute state = find_column(findings, relation, "state", column);
	Lifecycle  *lifecycle;

	if (state == NULL)
		return;
	if (!is_state_type(state->atttypid))
	{
		add_problem(findings, ERRCODE_DATATYPE_MISMATCH,
					"A state column is of type text, varchar or an enum.",
					psprintf("state column \"%s\" is of type %s", column,
							 format_type_be(state->atttypid)));
		mark_passing(findings);
		return;
	}
	if (state->attgenerated != '\0')
		add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE, NULL,
					psprintf("state column \"%s\" is generated", column));
	if (holds_any_state(state))
		return;
	lifecycle = lifecycle_parse(DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
																   CStringGetDatum(graph))));
	for (int i = 0; i < lifecycle->nstates; i++)
	{
		const char *hint;
		const char *misfit = state_misfit(state, &lifecycle->states[i], &hint);

		if (misfit == NULL)
			continue;
		add_problem(findings, ERRCODE_INVALID_PARAMETER_VALUE, hint, unconstify(char *, misfit));
		mark_passing(findings);
	}
}

/*
 * Looks at a table (the topmost one, of a partitioned one) that is governed, or
 * is to be, as guard says; not at its triggers.
 */
static void
find_table_problems(Findings *findings, Relation relation, const GuardTrigger *guard)
{
	findings->about = RelationGetRelid(relation);
	if (!find_kind_problems(findings, relation))
		return;
	find_key_problems(findings, relation, guard->key_column);
	find_state_problems(findings, relation, guard->state_column, guard->graph);
}

/*
 * Returns the problems of a table that is to be governed as guard says.
 */
List *
table_problems(Relation relation, const GuardTrigger *guard)
{
	Findings	findings = {0};

	find_table_problems(&findings, relation, guard);
	return findings.problems;
}

/* ----------------------------------------------------------------------
 * Triggers
 * ----------------------------------------------------------------------
 */

static void
find_trigger_problem(Findings *findings, Relation relation, const char *name, const char *function,
					 int16 type)
{
	const char *what = trigger_problem(relation, name, function, type);
	Problem    *problem;

	if (what == NULL)
		return;
	findings->about = RelationGetRelid(relation);
	add_problem(findings, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, NULL,
				psprintf("trigger \"%s\" of relation \"%s\" %s",
						 name, RelationGetRelationName(relation), what));
	problem = llast(findings->problems);
	if (what == TRIGGER_MISSING)
		problem->droppable = true;
	else
	{
		problem->refusal_hint = TRIGGER_HINT;
		problem->refusal = psprintf(what == TRIGGER_OTHER ?
									"cannot alter the trigger that guards relation \"%s\"" :
									"cannot disable the trigger that guards relation \"%s\"",
									RelationGetRelationName(relation));
	}
	if (what == TRIGGER_MISSING || what == TRIGGER_NOT_ALWAYS)
		mark_passing(findings);
}

/*
 * Looks at the guard of a partition.
 */
static void
find_partition_problems(Findings *findings, Oid relid)
{
	Relation	partition = look_at(findings, relid);

	if (partition == NULL)
		return;
	find_trigger_problem(findings, partition, GUARD_TRIGGER, "guard_fate", GUARD_TRIGGER_TYPE);
	if (partition->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
		add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE, NULL,
					psprintf("partition \"%s\" is a foreign table",
							 RelationGetRelationName(partition)));
	look_away(findings, partition);
}

/*
 * Looks at the triggers of a table and at the guards of those of its partitions
 * that are to be looked at.
 */
static void
find_guard_problems(Findings *findings, Relation relation)
{
	Oid			relid = RelationGetRelid(relation);
	ListCell   *cell;

	find_trigger_problem(findings, relation, TRUNCATE_TRIGGER, "guard_truncate",
						 TRUNCATE_TRIGGER_TYPE);
	find_trigger_problem(findings, relation, GUARD_TRIGGER, "guard_fate", GUARD_TRIGGER_TYPE);
	if (relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return;
	if (findings->all_partitions)
	{
		foreach(cell, find_all_inheritors(relid, NoLock, NULL))
		{
			if (lfirst_oid(cell) != relid)
				find_partition_problems(findings, lfirst_oid(cell));
		}
	}
	foreach(cell, findings->partitions)
	{
		if (list_member_oid(partition_ancestors(lfirst_oid(cell)), relid))
			find_partition_problems(findings, lfirst_oid(cell));
	}
}

/* ----------------------------------------------------------------------
 * The ledger
 * ----------------------------------------------------------------------
 */

/*
 * Adds a problem of a ledger.
 */
static void
add_misfit(Findings *findings, Relation ledger, const char *hint, const char *text)
{
	add_problem(findings, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, hint,
				psprintf("ledger \"%s\" %s", RelationGetRelationName(ledger), text));
}

/*
 * Looks at the columns of a ledger that are the same in each.
 */
static void
find_ledger_column_problems(Findings *findings, Relation ledger)
{
	for (int i = 0; i < LEDGER_COLUMNS; i++)
	{
		const LedgerColumn *wanted = &ledger_columns[i];
		AttrNumber	attno = attnameAttNum(ledger, wanted->name, false);
		Form_pg_attribute found;

		if (attno <= InvalidAttrNumber)
		{
			add_misfit(findings, ledger, NULL, psprintf("has no column \"%s\"", wanted->name));
			mark_droppable(findings);
			continue;
		}
		found = TupleDescAttr(RelationGetDescr(ledger), attno - 1);
		if (found->atttypid != wanted->type || found->atttypmod != -1)
			add_misfit(findings, ledger, NULL,
					   psprintf("has a column \"%s\" of type %s instead of %s", wanted->name,
								format_type_with_typemod(found->atttypid, found->atttypmod),
								format_type_be(wanted->type)));
		if (found->attgenerated != '\0' || found->attidentity != '\0')
			add_misfit(findings, ledger, NULL,
					   psprintf("has a generated column \"%s\"", wanted->name));
		/* one that was not validated still refuses new rows */
		if (wanted->not_null ? !column_is_not_null(RelationGetDescr(ledger), attno) :
			found->attnotnull)
			add_misfit(findings, ledger, NULL,
					   psprintf(wanted->not_null ? "has a column \"%s\" that may be null" :
								"has a column \"%s\" that may not be null", wanted->name));
	}
}

/*
 * Looks at the key of a ledger, which has to tell apart just what the table's
 * own key does.
 */
static void
find_ledger_key_problems(Findings *findings, Relation ledger, Form_pg_attribute key)
{
	const char *name = NameStr(key->attname);
	AttrNumber	attno = attnameAttNum(ledger, name, false);
	int32		typmod;
	Oid			type = key_base_type(key, &typmod);
	Form_pg_attribute found;

	if (attno <= InvalidAttrNumber)
	{
		add_misfit(findings, ledger,
				   "If it is the ledger of this table from before its key column was renamed, rename the column of the ledger too.",
				   psprintf("has no key column \"%s\"", name));
		mark_droppable(findings);
		mark_alterable(findings);
		return;
	}
	found = TupleDescAttr(RelationGetDescr(ledger), attno - 1);
	if (found->attcollation != key->attcollation)
		add_misfit(findings, ledger, NULL,
				   psprintf("has a key column \"%s\" of another collation than the table", name));
	if (found->atttypid != type || found->atttypmod != typmod)
		add_misfit(findings, ledger, NULL,
				   psprintf("has a key column \"%s\" of another type than the table (%s, not %s)",
							name, format_type_with_typemod(found->atttypid, found->atttypmod),
							format_type_with_typemod(type, typmod)));
	if (found->attgenerated != '\0' || found->attidentity != '\0')
		add_misfit(findings, ledger, NULL, psprintf("has a generated column \"%s\"", name));
	if (!column_is_not_null(RelationGetDescr(ledger), attno))
	{
		add_misfit(findings, ledger, NULL, psprintf("has a key column \"%s\" that may be null", name));
		mark_passing(findings);
	}
	if (!has_key_index(ledger, name, InvalidOid))
	{
		add_misfit(findings, ledger, NULL, psprintf("has no primary key on \"%s\"", name));
		mark_droppable(findings);
		mark_passing(findings);
	}
}

/*
 * Looks at a relation as the ledger of a table (the topmost one, of a
 * partitioned one); not at its triggers.
 */
static void
find_misfits(Findings *findings, Relation ledger, Relation relation, const char *key_column)
{
	AttrNumber	attno = attnameAttNum(relation, key_column, false);

	findings->about = RelationGetRelid(ledger);
	if (ledger->rd_rel->relkind != RELKIND_RELATION)
	{
		add_misfit(findings, ledger, NULL, "is not an ordinary table");
		return;
	}
	if (OidIsValid(ledger->rd_rel->reloftype) || ledger->rd_rel->relispartition ||
		has_superclass(RelationGetRelid(ledger)) || has_children(ledger))
		add_misfit(findings, ledger, NULL,
				   "is a typed table, a partition, or an inheritance parent or child");
	if (ledger->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		add_misfit(findings, ledger, NULL, "is not logged: a crash would empty it");
	if (ledger->rd_rel->relowner != relation->rd_rel->relowner)
		add_misfit(findings, ledger, NULL, "belongs to another role than the table");
	if (ledger->rd_rules != NULL)
		add_misfit(findings, ledger, "Drop the rules.", "has rules");
	find_ledger_column_problems(findings, ledger);
	if (attno > InvalidAttrNumber)
		find_ledger_key_problems(findings, ledger,
								 TupleDescAttr(RelationGetDescr(relation), attno - 1));
}

/*
 * Returns the problems of a relation that is to be the ledger of a table.
 */
List *
ledger_problems(Relation ledger, Relation relation, const char *key_column)
{
	Findings	findings = {0};

	find_misfits(&findings, ledger, relation, key_column);
	return findings.problems;
}

/* ----------------------------------------------------------------------
 * Table and ledger
 * ----------------------------------------------------------------------
 */

/*
 * Opens the ledger of a table, whose guard names it, if it is there and can be
 * looked at; else returns NULL.
 */
static Relation
open_ledger(Findings *findings, Relation relation, const char *ledger)
{
	Oid			relid = get_relname_relid(ledger, RelationGetNamespace(relation));

	return OidIsValid(relid) ? look_at(findings, relid) : NULL;
}

/*
 * Notes by which indexes a ledger tells keys apart, and whether a trigger may
 * change its new rows.
 */
static void
note_ledger(Findings *findings, Relation ledger, const char *key_column)
{
	const TriggerDesc *triggers = ledger->trigdesc;
	AttrNumber	attno = attnameAttNum(ledger, key_column, false);
	List	   *keys = attno > InvalidAttrNumber ? key_indexes(ledger, attno) : NIL;
	ListCell   *cell;

	findings->before_trigger = triggers != NULL && triggers->trig_insert_before_row;
	foreach(cell, keys)
	{
		char	   *name = get_rel_name(lfirst_oid(cell));

		findings->watched = lappend_oid(findings->watched, lfirst_oid(cell));
		if (name != NULL)
			findings->ledger_keys = lappend(findings->ledger_keys, name);
	}
}

/*
 * Looks at the ledger of a table and at its triggers.
 */
static void
find_ledger_problems(Findings *findings, Relation relation, const GuardTrigger *guard)
{
	Relation	ledger = open_ledger(findings, relation, guard->ledger);

	if (ledger == NULL)
	{
		add_problem(findings, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, NULL,
					psprintf("ledger \"%s.%s\" is missing",
							 get_namespace_name(RelationGetNamespace(relation)), guard->ledger));
		mark_passing(findings);
		mark_alterable(findings);
		return;
	}
	find_misfits(findings, ledger, relation, guard->key_column);
	if (ledger->rd_rel->relkind == RELKIND_RELATION)
	{
		find_trigger_problem(findings, ledger, LEDGER_TRIGGER, "guard_ledger", LEDGER_TRIGGER_TYPE);
		find_trigger_problem(findings, ledger, LEDGER_TRUNCATE_TRIGGER, "guard_ledger",
							 TRUNCATE_TRIGGER_TYPE);
		note_ledger(findings, ledger, guard->key_column);
	}
	findings->ledger = RelationGetRelid(ledger);
	findings->watched = lappend_oid(findings->watched, RelationGetRelid(ledger));
	look_away(findings, ledger);
}

/*
 * Looks at all of a table that has a guard: the table, its triggers and those of
 * its partitions, and its ledger.  The table is the topmost one, of a
 * partitioned one; with a partition, of all partitions at that one alone.
 */
static void
find_all_problems(Findings *findings, Relation relation, Relation partition)
{
	GuardTrigger guard;

	if (!read_guard(relation, &guard))
	{
		add_problem(findings, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, NULL,
					partition == NULL ?
					psprintf("trigger \"%s\" of relation \"%s\" is not the one that govern creates",
							 GUARD_TRIGGER, RelationGetRelationName(relation)) :
					psprintf("relation \"%s\", which it is a partition of, is not governed",
							 RelationGetRelationName(relation)));
		return;
	}
	find_table_problems(findings, relation, &guard);
	if (partition == NULL)
		find_guard_problems(findings, relation);
	else
	{
		find_trigger_problem(findings, relation, TRUNCATE_TRIGGER, "guard_truncate",
							 TRUNCATE_TRIGGER_TYPE);
		find_trigger_problem(findings, partition, GUARD_TRIGGER, "guard_fate", GUARD_TRIGGER_TYPE);
	}
	find_ledger_problems(findings, relation, &guard);
}

/*
 * Returns the problems of a table that has a guard.
 */
List *
governed_problems(Relation relation)
{
	Findings	findings = {.all_partitions = true};

	find_all_problems(&findings, relation, NULL);
	return findings.problems;
}

/*
 * Returns the problems of a table that has a guard, as far as DDL is judged by
 * them: of its partitions just those of the OIDs given are looked at, and no
 * other relation is locked.
 */
List *
problems_for_ddl(Relation relation, const List *partitions)
{
	Findings	findings = {.unlocked = true,.partitions = partitions};

	find_all_problems(&findings, relation, NULL);
	return findings.problems;
}

/* ----------------------------------------------------------------------
 * What is imprudent
 * ----------------------------------------------------------------------
 */

/*
 * Adds the rights that an access control list gives to others than the owner,
 * apart from reading.
 */
static void
find_rights(Findings *findings, Relation ledger, const Acl *acl, const char *on)
{
	static const struct
	{
		AclMode		mode;
		const char *name;
	}			rights[] = {
		{ACL_INSERT, "INSERT"}, {ACL_UPDATE, "UPDATE"}, {ACL_DELETE, "DELETE"},
		{ACL_TRUNCATE, "TRUNCATE"}, {ACL_REFERENCES, "REFERENCES"}, {ACL_TRIGGER, "TRIGGER"},
#if PG_VERSION_NUM >= 170000
		{ACL_MAINTAIN, "MAINTAIN"}
#endif
	};

	for (int i = 0; i < ACL_NUM(acl); i++)
	{
		const AclItem *item = &ACL_DAT(acl)[i];
		const char *grantee = "public";

		if (item->ai_grantee == ledger->rd_rel->relowner)
			continue;
		if (item->ai_grantee != ACL_ID_PUBLIC)
			grantee = GetUserNameFromId(item->ai_grantee, true);
		for (int j = 0; j < lengthof(rights); j++)
		{
			if (ACLITEM_GET_PRIVS(*item) & rights[j].mode)
				add_imprudence(findings, psprintf("role \"%s\" has the right %s on %s \"%s\"",
												  grantee ? grantee : "(dropped)", rights[j].name,
												  on, RelationGetRelationName(ledger)));
		}
	}
}

/*
 * Adds the rights of others on a ledger and on its columns.
 */
static void
find_all_rights(Findings *findings, Relation ledger)
{
	bool		isnull;
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(RelationGetRelid(ledger)));
	Datum		acl;

	if (!HeapTupleIsValid(tuple))
		return;
	acl = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &isnull);
	if (!isnull)
		find_rights(findings, ledger, DatumGetAclP(acl), "ledger");
	ReleaseSysCache(tuple);

	for (AttrNumber attno = 1; attno <= RelationGetNumberOfAttributes(ledger); attno++)
	{
		tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(RelationGetRelid(ledger)),
								Int16GetDatum(attno));
		if (!HeapTupleIsValid(tuple))
			continue;
		acl = SysCacheGetAttr(ATTNUM, tuple, Anum_pg_attribute_attacl, &isnull);
		if (!isnull)
			find_rights(findings, ledger, DatumGetAclP(acl), "a column of ledger");
		ReleaseSysCache(tuple);
	}
}

/*
 * Adds the user's triggers on a ledger that see its new rows.
 */
static void
find_user_triggers(Findings *findings, Relation ledger)
{
	int			count = ledger->trigdesc ? ledger->trigdesc->numtriggers : 0;

	for (int i = 0; i < count; i++)
	{
		const Trigger *trigger = &ledger->trigdesc->triggers[i];

		if (trigger->tgisinternal || !TRIGGER_FOR_INSERT(trigger->tgtype))
			continue;
		add_imprudence(findings, psprintf(TRIGGER_FOR_BEFORE(trigger->tgtype) ?
										  "trigger \"%s\" fires before each row of ledger \"%s\" is stored" :
										  "trigger \"%s\" fires after rows of ledger \"%s\" are stored",
										  trigger->tgname, RelationGetRelationName(ledger)));
	}
}

/*
 * Has a relation an index on an expression, or on a part of its rows?
 */
static bool
has_index_code(Relation relation)
{
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(relation))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		bool		found;

		found = !heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL) ||
			!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
		index_close(index, AccessShareLock);
		if (found)
			return true;
	}
	return false;
}

/*
 * Has a locked relation a trigger that does not call one of our functions?
 */
static bool
has_user_trigger(Relation relation)
{
	TriggerDesc *triggers = CopyTriggerDesc(relation->trigdesc);
	int			count = triggers ? triggers->numtriggers : 0;

	for (int i = 0; i < count; i++)
	{
		if (!triggers->triggers[i].tgisinternal &&
			!is_own_function(triggers->triggers[i].tgfoid, "guard_ledger"))
			return true;
	}
	return false;
}

/*
 * Could a locked ledger run code that govern has not put there, when a row is
 * written?  A column more counts too: it may be of a domain with a constraint.
 */
bool
has_user_code(Relation ledger)
{
	TupleDesc	descriptor = RelationGetDescr(ledger);
	const TupleConstr *constraints = descriptor->constr;
	int			columns = 0;

	for (int i = 0; i < descriptor->natts; i++)
		columns += !TupleDescAttr(descriptor, i)->attisdropped;
	return columns != LEDGER_COLUMNS + 1 || ledger->rd_rules != NULL ||
		ledger->rd_rel->relrowsecurity ||
		(constraints != NULL && (constraints->num_check > 0 || constraints->num_defval > 0)) ||
		has_user_trigger(ledger) || has_index_code(ledger);
}

/*
 * Adds the user's unique indexes and exclusion constraints on a ledger.
 */
static void
find_user_indexes(Findings *findings, Relation ledger, const char *key_column)
{
	AttrNumber	attno = attnameAttNum(ledger, key_column, false);
	List	   *keys = attno > InvalidAttrNumber ? key_indexes(ledger, attno) : NIL;
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(ledger))
	{
		Relation	index = look_at(findings, lfirst_oid(cell));

		if (index == NULL)
			continue;
		if ((index->rd_index->indisunique || index->rd_index->indisexclusion) &&
			!index->rd_index->indisprimary &&
			!list_member_oid(keys, lfirst_oid(cell)))
			add_imprudence(findings, psprintf("index \"%s\" of ledger \"%s\" can refuse a fate",
											  RelationGetRelationName(index),
											  RelationGetRelationName(ledger)));
		look_away(findings, index);
	}
}

/*
 * Adds the event triggers of ours that are missing or do not fire.
 */
static void
find_event_triggers(Findings *findings)
{
	static const struct
	{
		const char *function;
		const char *name;
	}			wanted[] = {
		{"guard_start", "petition_cas_start"},
		{"guard_ddl", "petition_cas_ddl"},
		{"guard_drop", "petition_cas_drop"}
	};
	Relation	catalog = table_open(EventTriggerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	bool		fires[lengthof(wanted)] = {false};
	HeapTuple	row;

	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		Form_pg_event_trigger form = (Form_pg_event_trigger) GETSTRUCT(row);

		for (int i = 0; i < lengthof(wanted); i++)
		{
			if (form->evtenabled == TRIGGER_FIRES_ALWAYS &&
				is_own_function(form->evtfoid, wanted[i].function))
				fires[i] = true;
		}
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
#if PG_VERSION_NUM >= 170000
	if (!event_triggers)
		add_imprudence(findings, pstrdup("event_triggers is off here, so that no event trigger fires"));
#endif
	for (int i = 0; i < lengthof(wanted); i++)
	{
		if (!fires[i])
			add_imprudence(findings, psprintf("event trigger \"%s\" is missing or does not fire always",
											  wanted[i].name));
	}
}

/*
 * Returns what is imprudent about a table that has a guard.
 */
List *
imprudences(Relation relation)
{
	Findings	findings = {0};
	GuardTrigger guard;
	Relation	ledger;

	find_event_triggers(&findings);
	if (read_guard(relation, &guard) &&
		(ledger = open_ledger(&findings, relation, guard.ledger)) != NULL)
	{
		if (ledger->rd_rel->relkind == RELKIND_RELATION)
		{
			find_all_rights(&findings, ledger);
			find_user_triggers(&findings, ledger);
			find_user_indexes(&findings, ledger, guard.key_column);
		}
		look_away(&findings, ledger);
	}
	return findings.problems;
}

/* ----------------------------------------------------------------------
 * Judged at use
 * ----------------------------------------------------------------------
 */

/*
 * Copies what was found into a governed relation's judgement, and ends that.
 */
static void
keep_findings(Governed *governed, const Findings *findings, uint64 begun)
{
	MemoryContext caller = MemoryContextSwitchTo(governed->judgement);
	Oid		   *watched = palloc(Max(1, list_length(findings->watched)) * sizeof(Oid));
	ListCell   *cell;
	int			count = 0;

	governed->ledger_oid = findings->ledger;
	governed->before_trigger = findings->before_trigger;
	governed->problems = NIL;
	foreach(cell, findings->problems)
		governed->problems = lappend(governed->problems, pstrdup(((Problem *) lfirst(cell))->text));
	governed->ledger_keys = NIL;
	foreach(cell, findings->ledger_keys)
		governed->ledger_keys = lappend(governed->ledger_keys, pstrdup(lfirst(cell)));
	foreach(cell, findings->watched)
		watched[count++] = lfirst_oid(cell);
	end_judgement(governed, begun, watched, count);
	MemoryContextSwitchTo(caller);
}

/*
 * Judges a governed relation and remembers what it found.  The topmost table of
 * a partition is locked as the server does it to check a partition's bounds.
 */
static void
judge(Governed *governed, Relation relation)
{
	uint64		begun = begin_judgement(governed);
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "petition_cas judging",
											   ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(work);
	Findings	findings = {0};

	if (governed->root == governed->relid)
		find_all_problems(&findings, relation, NULL);
	else
	{
		Relation	root = look_at(&findings, governed->root);

		if (root == NULL)
			add_problem(&findings, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, NULL,
						pstrdup("the table that it is a partition of is gone"));
		else
		{
			find_all_problems(&findings, root, relation);
			look_away(&findings, root);
		}
	}
	keep_findings(governed, &findings, begun);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(work);
}

/*
 * May a governed relation, whose ledger that is, be given a fate?  Looked at
 * just the first time, and again after an invalidation of what it rests on.  An
 * unsound one is looked at each time: nobody has to wait for his repair to be
 * noticed.
 */
static bool
is_sound_with(Governed *governed, Relation relation, Oid ledger)
{
	if (!governed->judged || governed->problems != NIL || governed->ledger_oid != ledger)
		judge(governed, relation);
	return governed->problems == NIL;
}

/*
 * May a governed relation be given a fate?
 */
bool
is_sound(Governed *governed, Relation relation)
{
	return is_sound_with(governed, relation, governed_ledger(governed, true));
}

/*
 * Returns the ledger of a governed relation that may be given a fate, locked as
 * it is to be written; asked before each.  Raises 55000 with the problems of one
 * that is unsound; 42P01 if its ledger is gone, and 42501 if that belongs to
 * another role.
 */
Oid
check_sound(Governed *governed, Relation relation)
{
	Oid			ledger = governed_ledger(governed, false);

	/* what is judged must not change before it is written */
	LockRelationOid(ledger, RowExclusiveLock);
	if (is_sound_with(governed, relation, ledger))
		return ledger;
	(void) ledger_owner(ledger, governed->ledger, governed->root, governed->relation);
	report_unsound(relation, governed->problems);
}

/*
 * Raises 55000 for a partitioned table with a partition whose guard is not in
 * order.  Asked where a row has got its fate and no guard in this backend knows
 * of it: to look at all partitions each time would cost too much.
 */
void
check_partitions(Governed *governed, Relation relation)
{
	List	   *texts = NIL;
	ListCell   *cell;

	foreach(cell, governed_problems(relation))
		texts = lappend(texts, ((Problem *) lfirst(cell))->text);
	if (texts != NIL)
		report_unsound(relation, texts);
}

/*
 * Raises 55000 with its problems for a governed relation whose rows cannot be
 * judged at all, since a column is gone or of a type that nothing can be done
 * with.
 */
void
check_readable(Governed *governed, Relation relation)
{
	if (governed->readable)
		return;
	judge(governed, relation);
	report_unsound(relation, governed->problems);
}
