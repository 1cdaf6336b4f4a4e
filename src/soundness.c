/*-------------------------------------------------------------------------
 *
 * soundness.c
 *	  What a sound governed table and a sound ledger are: one list of problems.
 *
 * A history is judged as a ledger is.
 *
 * Everybody who judges a table asks here, and each forgives something else:
 *
 *	- govern asks of a table before it has triggers (table_problems), and of a
 *	  ledger that it takes over, whose triggers it creates anew
 *	  (record_problems).  It forgives nothing else: each problem has the
 *	  SQLSTATE with which it refuses it.
 *	- The guard, and the swaps, ask before a fate is written (check_sound).
 *	  They forgive nothing: where a second fate, a lost or a wrong record would
 *	  be possible, there is no fate.  What was found is remembered until one of
 *	  the relations that it rests on is invalidated, so that it costs a call
 *	  nothing.
 *	- The event triggers ask before and after a command on a table or a ledger
 *	  (problems_for_ddl), without waiting for a lock.  They forgive what was so
 *	  before the command: a restore builds a table step by step, and whoever
 *	  repairs one need not do it in one command.  A plain CREATE TRIGGER is
 *	  forgiven what is passing: a trigger that does not fire always yet, others of
 *	  ours that are missing, a key without an index, a ledger that is not there or
 *	  has no primary key; and a lifecycle that does not fit the column, which
 *	  hinders nobody else.
 *	- verify_fates tells all of it, and what is merely imprudent as well
 *	  (imprudences): rights of others on the ledger, triggers and unique indexes
 *	  of the user's on it, event triggers that are off.  Such things can hinder,
 *	  or forge a record by whoever was given the right; they can give no second
 *	  fate.
 *
 * A BEFORE INSERT trigger on the ledger is among the imprudent ones: what it
 * left is read back and compared (ledger.c).  One on a history is a problem, since of
 * the rows that a key has there, none could be told to be the new one.
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
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
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
#include "shard.h"
#include "soundness.h"

/* What a look at a table and its ledger has found */
typedef struct Findings
{
	List	   *problems;
	Oid			about;			/* the relation that is being looked at */
	bool		unlocked;		/* in: other relations are looked at without a
								 * lock */
	const List *partitions;		/* in: OIDs of those whose guards are looked
								 * at */
	const RecordKind *kind;		/* of what is looked at as ledger or history */
	Oid			ledger;
	Oid			history;
	List	   *ledger_keys;	/* names of its unique indexes on the key */
	bool		before_trigger; /* one sees its new rows */
	List	   *watched;		/* OIDs of all that this rests on */
} Findings;

/*
 * Returns whether a problem is in a list, which may have it from another look.
 */
bool
has_problem(const List *problems, const Problem *problem)
{
	ListCell   *cell;

	foreach(cell, problems)
	{
		const Problem *other = lfirst(cell);

		if (other->about == problem->about && strcmp(other->text, problem->text) == 0)
			return true;
	}
	return false;
}

/*
 * Adds a problem, whose text belongs to it; once, if several lifecycles have it.
 */
static void
add_problem_text(Findings *findings, int sqlerrcode, int traits, const char *hint, char *text)
{
	Problem    *problem = palloc(sizeof(Problem));

	problem->text = text;

	problem->about = findings->about;
	problem->sqlerrcode = sqlerrcode;
	problem->traits = traits;
	problem->hint = hint;
	if (!has_problem(findings->problems, problem))
		findings->problems = lappend(findings->problems, problem);
}

/* Adds a problem; its text comes last, as psprintf takes it */
#define add_problem(findings, sqlerrcode, traits, hint, ...) \
	add_problem_text(findings, sqlerrcode, traits, hint, psprintf(__VA_ARGS__))

/* Adds one of a ledger or history, whose name comes before the text */
#define add_misfit(findings, record, traits, hint, ...) \
	add_problem(findings, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, traits, hint, \
				"%s \"%s\" %s", (findings)->kind->name, RelationGetRelationName(record), \
				psprintf(__VA_ARGS__))

/* Adds what is told, and stops nobody */
#define add_imprudence(findings, ...) \
	add_problem(findings, 0, 0, NULL, "imprudent: " __VA_ARGS__)

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
 * Returns a column of a relation, or NULL if there is none of that name.
 */
static Form_pg_attribute
column_named(Relation relation, const char *name)
{
	AttrNumber	attno = attnameAttNum(relation, name, false);

	return attno > InvalidAttrNumber ?
		TupleDescAttr(RelationGetDescr(relation), attno - 1) : NULL;
}

/* ----------------------------------------------------------------------
 * Keys
 * ----------------------------------------------------------------------
 */

/*
 * Returns an OID or collation of a key column of an index, from a column of its row in
 * pg_index that is an oidvector.
 */
static Oid
index_oid(HeapTuple index, AttrNumber attribute, int number)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(INDEXRELID, index, attribute, &isnull);

	return isnull ? InvalidOid : ((oidvector *) DatumGetPointer(value))->values[number];
}

/*
 * Returns whether a key column of an index is that column, told apart by the column
 * type's own equality.
 */
static bool
is_index_column(HeapTuple index, int number, Form_pg_attribute key)
{
	Form_pg_index form = (Form_pg_index) GETSTRUCT(index);
	Oid			opclass = index_oid(index, Anum_pg_index_indclass, number);
	Oid			type = get_opclass_input_type(opclass);
	Oid			equality = lookup_type_cache(getBaseType(key->atttypid), TYPECACHE_EQ_OPR)->eq_opr;

	return form->indkey.values[number] == key->attnum &&
		index_oid(index, Anum_pg_index_indcollation, number) == key->attcollation &&
		get_opfamily_member(get_opclass_family(opclass), type, type,
							BTEqualStrategyNumber) == equality;
}

/*
 * Returns whether an index, given by its row in pg_index, is a valid, immediate,
 * total unique index on just those columns, in whatever order.
 */
static bool
is_key_index(HeapTuple index, Relation relation, const List *columns)
{
	Form_pg_index form = (Form_pg_index) GETSTRUCT(index);
	ListCell   *cell;

	if (!form->indisunique || form->indisexclusion || !form->indisvalid || !form->indisready ||
		!form->indislive || !form->indimmediate || form->indnkeyatts != list_length(columns) ||
		!heap_attisnull(index, Anum_pg_index_indpred, NULL))
		return false;
	foreach(cell, columns)
	{
		Form_pg_attribute key = column_named(relation, lfirst(cell));
		bool		found = false;

		for (int i = 0; i < form->indnkeyatts && key != NULL; i++)
			found = found || is_index_column(index, i, key);
		if (!found)
			return false;
	}
	return true;
}

/*
 * Returns the OIDs of the indexes that make columns of the relation, of those names, a
 * key.  They are read from the catalog, not opened: who works on an index, such as a
 * restore that attaches it, shall not be waited for.
 */
static List *
key_indexes(Relation relation, const List *columns)
{
	List	   *found = NIL;
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(relation))
	{
		HeapTuple	index = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));

		if (!HeapTupleIsValid(index))
			continue;
		if (is_key_index(index, relation, columns))
			found = lappend_oid(found, lfirst_oid(cell));
		ReleaseSysCache(index);
	}
	return found;
}

/*
 * Returns whether columns of the relation, of those names, are a key, by an index
 * other than the one excepted (InvalidOid: by any).
 */
bool
has_key_index(Relation relation, const List *columns, Oid except)
{
	return list_delete_oid(key_indexes(relation, columns), except) != NIL;
}

/*
 * Returns the names of the columns of a relation's primary key, in its order; of one
 * without a primary key, that of the column "id", whether it is there or not.
 */
List *
default_key(Relation relation)
{
	List	   *names = NIL;
	Oid			oid = primary_key_index(relation);
	Relation	index;

	if (!OidIsValid(oid))
		return list_make1("id");
	index = index_open(oid, AccessShareLock);
	for (int i = 0; i < index->rd_index->indnkeyatts; i++)
		names = lappend(names, get_attname(RelationGetRelid(relation),
										   index->rd_index->indkey.values[i], false));
	index_close(index, AccessShareLock);
	return names;
}

/* ----------------------------------------------------------------------
 * The table
 * ----------------------------------------------------------------------
 */

/*
 * Returns whether the relation has an inheritance child, of whatever kind.  A
 * partitioned table's partitions are none.
 */
static bool
has_children(Relation relation)
{
	return relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE &&
		relation->rd_rel->relhassubclass &&
		find_inheritance_children(RelationGetRelid(relation), NoLock) != NIL;
}

/*
 * Returns whether a type is temporary, or made of one that is.  What is made of
 * it vanishes with the session that created it, and no event trigger is asked.
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
 * Returns a column that governs, or NULL and the problem that it is not there.
 */
static Form_pg_attribute
find_column(Findings *findings, Relation relation, const char *what, const char *column)
{
	Form_pg_attribute found = column_named(relation, column);

	if (found == NULL)
		add_problem(findings, ERRCODE_UNDEFINED_COLUMN, DROPPABLE | ALTERABLE,
					"Give the columns to govern as key_column, state_column and evidence.",
					"%s column \"%s\" does not exist", what, column);
	else if (is_temporary(found->atttypid))
		add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE, 0, "Give the column a type that stays.",
					"%s column \"%s\" is of a temporary type", what, column);
	return found;
}

/*
 * Looks at the columns of the key and its indexes.
 */
static void
find_key_problems(Findings *findings, Relation relation, List *columns)
{
	const char *names = list_length(columns) == 1 ? linitial(columns) : name_list(columns);
	const char *what = list_length(columns) == 1 ? "column" : "columns";
	List	   *indexes = key_indexes(relation, columns);
	List	   *record_names = NIL;
	ListCell   *cell;

	foreach(cell, columns)
	{
		const char *column = lfirst(cell);
		Form_pg_attribute key = find_column(findings, relation, "key", column);
		String	   *name = makeString(record_key_name(column));

		if (key == NULL)
			return;
		if (!column_is_not_null(RelationGetDescr(relation), key->attnum))
			add_problem(findings, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, PASSING,
						psprintf("ALTER TABLE ... ALTER COLUMN %s SET NOT NULL.", quote_identifier(column)),
						"key column \"%s\" may be null", column);
		if (list_member(record_names, name))
			add_problem(findings, ERRCODE_DUPLICATE_COLUMN, 0, "Rename the key column.",
						"the ledger would have two key columns \"%s\"", strVal(name));
		record_names = lappend(record_names, name);
	}
	findings->watched = list_concat(findings->watched, indexes);
	if (indexes == NIL)
		add_problem(findings, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, DROPPABLE | PASSING,
					"The key is the primary key, or one column with a unique index that is valid, not deferrable and not partial.",
					"key %s \"%s\" %s no unique index of %s own", what, names,
					list_length(columns) == 1 ? "has" : "have",
					list_length(columns) == 1 ? "its" : "their");
}

/*
 * Looks at the state column, and whether it can hold every state of the
 * lifecycle, which is given as its JSON.
 */
static void
find_state_problems(Findings *findings, Relation relation, const char *column, const char *graph)
{
	Form_pg_attribute found = find_column(findings, relation, "state", column);
	Lifecycle  *lifecycle;

	if (found == NULL)
		return;
	if (!is_state_type(found->atttypid))
	{
		add_problem(findings, ERRCODE_DATATYPE_MISMATCH, PASSING,
					"A state column is of type text, varchar, char, smallint, integer, bigint, boolean, uuid, an enum, or a domain over one of these.",
					"state column \"%s\" is of type %s", column, format_type_be(found->atttypid));
		return;
	}
	/* what is computed when it is read is in no row that a trigger is given */
	if (found->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
		add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE, 0, "Declare it STORED.",
					"state column \"%s\" is a virtual generated column", column);
	if (holds_any_state(found))
		return;
	lifecycle = lifecycle_parse(DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
																   CStringGetDatum(graph))));
	for (int i = 0; i < lifecycle->nstates; i++)
	{
		const char *hint;
		const char *misfit = state_misfit(found, &lifecycle->states[i], &hint);

		if (misfit != NULL)
			add_problem(findings, ERRCODE_INVALID_PARAMETER_VALUE, PASSING, hint, "%s", misfit);
	}
}

/*
 * Looks at the columns that decisions rest on.
 */
static void
find_evidence_problems(Findings *findings, Relation relation, const GuardTrigger *guard)
{
	List	   *seen = NIL;
	ListCell   *cell;

	foreach(cell, evidence_columns(guard->options))
	{
		const char *name = lfirst(cell);
		Form_pg_attribute column = find_column(findings, relation, "evidence", name);

		if (column == NULL)
			continue;
		if (column->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
			add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE, 0, "Declare it STORED.",
						"evidence column \"%s\" is a virtual generated column", name);
		if (strcmp(name, guard->state_column) == 0 || has_name(guard->key_columns, name))
			add_problem(findings, ERRCODE_INVALID_PARAMETER_VALUE, 0,
						"The key never changes, and the state is compared anyway.",
						"evidence column \"%s\" is its state column or of its key", name);
		if (has_name(seen, name))
			add_problem(findings, ERRCODE_DUPLICATE_COLUMN, 0, "Name each column once.",
						"evidence column \"%s\" is named twice", name);
		seen = lappend(seen, unconstify(char *, name));
	}
}

/*
 * Looks at what kind of relation it is (the topmost one, of a partitioned table);
 * returns false if it is no table at all.
 */
static bool
find_kind_problems(Findings *findings, Relation relation)
{
	Oid			relid = RelationGetRelid(relation);
	char		relkind = relation->rd_rel->relkind;

	findings->about = relid;
	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
	{
		add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE, 0, "Govern the table below it.",
					"it is not a table");
		return false;
	}
	if (IsSystemRelation(relation))
		add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE, 0, NULL, "it is a system catalog");
	if (RelationUsesLocalBuffers(relation))
		add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE, 0,
					"Nobody else can decide on its rows, and nothing of it stays.",
					"it is a temporary table");
	if (relation->rd_rel->relispartition)
		add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE, 0,
					"Govern the partitioned table that it belongs to.",
					"it is a partition");
	else if (has_superclass(relid) || has_children(relation))
		add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE, 0,
					"A trigger on one table of an inheritance tree does not see the rows of the others. Use declarative partitioning.",
					"it is an inheritance parent or child");
	if (is_ledger(relation))
		add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE, 0, NULL, "it is a %s",
					record_kind(relation)->name);
	return true;
}

/*
 * Looks whether the state is a part of the key: then a transition would be a row with
 * another key, where the table is partitioned by it, and else none at all.
 */
static void
find_state_in_key(Findings *findings, const GuardTrigger *guard)
{
	if (has_name(guard->key_columns, guard->state_column))
		add_problem(findings, ERRCODE_INVALID_PARAMETER_VALUE, 0,
					"What tells a row from others has to stay when its state changes. Give it a key without the state; a table cannot be partitioned by it.",
					"state column \"%s\" is part of the key", guard->state_column);
}

/*
 * Looks at all columns that a guard judges.
 */
static void
find_column_problems(Findings *findings, Relation relation, const GuardTrigger *guard)
{
	find_key_problems(findings, relation, guard->key_columns);
	find_state_problems(findings, relation, guard->state_column, guard->graph);
	find_state_in_key(findings, guard);
	find_evidence_problems(findings, relation, guard);
}

/*
 * Returns the problems of a table that is to be governed as guard says.
 */
List *
table_problems(Relation relation, const GuardTrigger *guard)
{
	Findings	findings = {0};

	if (find_kind_problems(&findings, relation))
		find_column_problems(&findings, relation, guard);
	return findings.problems;
}

/* ----------------------------------------------------------------------
 * Triggers
 * ----------------------------------------------------------------------
 */

/*
 * Looks at one of our triggers, which is of that kind: it must be there, call our
 * function, for the given events and whatever the row or the columns are, and fire
 * always.
 */
static void
find_trigger_problem(Findings *findings, Relation relation, const char *name, const char *kind)
{
	static const struct
	{
		const char *name;
		const char *function;
		int16		type;		/* tgtype */
	}			wanted[] = {
		{GUARD_TRIGGER, "guard_fate", TRIGGER_TYPE_ROW | TRIGGER_TYPE_AFTER |
		TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE},
		{TRUNCATE_TRIGGER, "guard_truncate", TRIGGER_TYPE_AFTER | TRIGGER_TYPE_TRUNCATE},
		{LEDGER_TRIGGER, "guard_ledger", TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE |
		TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE},
		{LEDGER_TRUNCATE_TRIGGER, "guard_ledger", TRIGGER_TYPE_AFTER | TRIGGER_TYPE_TRUNCATE}
	};
	const Trigger *trigger = find_trigger(relation, name);

	/* read first: the relation cache may rebuild it at any catalog access */
	char		enabled = trigger ? trigger->tgenabled : '\0';
	const char *what;
	int			traits;
	int			i = 0;

	while (strcmp(wanted[i].name, kind) != 0)
		i++;
	if (trigger == NULL)
	{
		what = "is missing";
		traits = DROPPABLE | PASSING;
	}
	else if (trigger->tgtype != wanted[i].type || trigger->tgqual != NULL ||
			 trigger->tgnattr > 0 || trigger->tgdeferrable ||
			 !is_own_function(trigger->tgfoid, wanted[i].function))
	{
		what = "is not the one that govern creates";
		traits = OTHER_TRIGGER;
	}
	else if (enabled == TRIGGER_FIRES_ALWAYS)
		return;
	else if (enabled == TRIGGER_DISABLED)
	{
		what = "is disabled";
		traits = DISABLED_TRIGGER;
	}
	else
	{
		what = "is no longer ENABLE ALWAYS";
		traits = DISABLED_TRIGGER | PASSING;
	}
	findings->about = RelationGetRelid(relation);
	add_problem(findings, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, traits, NULL,
				"trigger \"%s\" of relation \"%s\" %s",
				name, RelationGetRelationName(relation), what);
}

/*
 * Looks at the guards of those of the partitions that are a table's.
 */
static void
find_partition_problems(Findings *findings, Relation relation, const GuardTrigger *guard)
{
	ListCell   *cell;

	if (relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return;
	foreach(cell, findings->partitions)
	{
		Relation	partition;

		if (!list_member_oid(partition_ancestors(lfirst_oid(cell)), RelationGetRelid(relation)) ||
			(partition = look_at(findings, lfirst_oid(cell))) == NULL)
			continue;
		find_trigger_problem(findings, partition, guard->name, GUARD_TRIGGER);
		if (partition->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
			add_problem(findings, ERRCODE_WRONG_OBJECT_TYPE, 0, NULL,
						"partition \"%s\" is a foreign table", RelationGetRelationName(partition));
		look_away(findings, partition);
	}
}

/* ----------------------------------------------------------------------
 * Ledger and history
 * ----------------------------------------------------------------------
 */

/*
 * Looks at a column that every table of records of its kind has, as wanted.
 */
static void
find_record_column_problems(Findings *findings, Relation ledger, const RecordColumn *wanted)
{
	Form_pg_attribute found = column_named(ledger, wanted->name);

	if (found == NULL)
	{
		add_misfit(findings, ledger, DROPPABLE, NULL, "has no column \"%s\"", wanted->name);
		return;
	}
	if (found->atttypid != wanted->type || found->atttypmod != -1)
		add_misfit(findings, ledger, 0, NULL, "has a column \"%s\" of type %s instead of %s",
				   wanted->name, format_type_with_typemod(found->atttypid, found->atttypmod),
				   format_type_be(wanted->type));
	if (found->attgenerated != '\0' || found->attidentity != '\0')
		add_misfit(findings, ledger, 0, NULL, "has a generated column \"%s\"", wanted->name);
	if (wanted->not_null && !column_is_not_null(RelationGetDescr(ledger), found->attnum))
		add_misfit(findings, ledger, 0, NULL, "has a column \"%s\" that may be null", wanted->name);
	/* one that was not validated still refuses new rows */
	if (!wanted->not_null && found->attnotnull)
		add_misfit(findings, ledger, 0, NULL, "has a column \"%s\" that may not be null",
				   wanted->name);
}

/*
 * Looks at a key column of a ledger or history, which has to tell apart just what the
 * table's does.
 */
static void
find_record_key_problems(Findings *findings, Relation ledger, Form_pg_attribute key)
{
	const char *name = record_key_name(NameStr(key->attname));
	Form_pg_attribute found = column_named(ledger, name);
	int32		typmod;
	Oid			type = key_base_type(key, &typmod);

	if (found == NULL)
	{
		add_misfit(findings, ledger, DROPPABLE | ALTERABLE,
				   psprintf("If it is the %s of this table from before its key column was renamed, rename the column of the %s too.",
							findings->kind->name, findings->kind->name),
				   "has no key column \"%s\"", name);
		return;
	}
	if (found->attcollation != key->attcollation)
		add_misfit(findings, ledger, 0, NULL,
				   "has a key column \"%s\" of another collation than the table", name);
	if (found->atttypid != type || found->atttypmod != typmod)
		add_misfit(findings, ledger, 0, NULL,
				   "has a key column \"%s\" of another type than the table (%s, not %s)",
				   name, format_type_with_typemod(found->atttypid, found->atttypmod),
				   format_type_with_typemod(type, typmod));
	if (found->attgenerated != '\0' || found->attidentity != '\0')
		add_misfit(findings, ledger, 0, NULL, "has a generated column \"%s\"", name);
	if (!column_is_not_null(RelationGetDescr(ledger), found->attnum))
		add_misfit(findings, ledger, PASSING, NULL,
				   "has a key column \"%s\" that may be null", name);
}

/*
 * Looks at a relation as the ledger or the history of a table (the topmost one, of a
 * partitioned one); of its triggers only at those that could change new rows of a history.
 */
static void
find_misfits(Findings *findings, const RecordKind *kind, Relation ledger, Relation relation,
			 List *key_columns)
{
	List	   *names = record_key_names(key_columns);
	bool		complete = true;
	ListCell   *cell;

	findings->kind = kind;
	findings->about = RelationGetRelid(ledger);
	if (ledger->rd_rel->relkind != RELKIND_RELATION)
	{
		add_misfit(findings, ledger, 0, NULL, "is not an ordinary table");
		return;
	}
	if (OidIsValid(ledger->rd_rel->reloftype) || ledger->rd_rel->relispartition ||
		has_superclass(RelationGetRelid(ledger)) || has_children(ledger))
		add_misfit(findings, ledger, 0, NULL,
				   "is a typed table, a partition, or an inheritance parent or child");
	if (ledger->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		add_misfit(findings, ledger, 0, NULL, "is not logged: a crash would empty it");
	if (ledger->rd_rel->relowner != relation->rd_rel->relowner)
		add_misfit(findings, ledger, 0, NULL, "belongs to another role than the table");
	if (ledger->rd_rules != NULL)
		add_misfit(findings, ledger, 0, "Drop the rules.", "has rules");
	if (kind == &history_kind && ledger->trigdesc != NULL && ledger->trigdesc->trig_insert_before_row)
		add_misfit(findings, ledger, 0, "Drop the trigger.",
				   "has a trigger that fires before its rows are stored");
	for (int i = 0; i < kind->ncolumns; i++)
		find_record_column_problems(findings, ledger, &kind->columns[i]);
	foreach(cell, key_columns)
	{
		Form_pg_attribute key = column_named(relation, lfirst(cell));

		complete = complete && key != NULL && column_named(ledger, record_key_name(lfirst(cell))) != NULL;
		if (key != NULL)
			find_record_key_problems(findings, ledger, key);
	}
	if (kind == &ledger_kind && complete && !has_key_index(ledger, names, InvalidOid))
		add_misfit(findings, ledger, DROPPABLE | PASSING, NULL, "has no primary key on \"%s\"",
				   list_length(names) == 1 ? (char *) linitial(names) : name_list(names));
}

/*
 * Returns the problems of a relation that is to be the ledger or history of a table.
 */
List *
record_problems(const RecordKind *kind, Relation record, Relation relation, List *key_columns)
{
	Findings	findings = {0};

	find_misfits(&findings, kind, record, relation, key_columns);
	return findings.problems;
}

/* ----------------------------------------------------------------------
 * Table, ledger and history
 * ----------------------------------------------------------------------
 */

/*
 * Opens the ledger or history of a table, whose guard names it, if it is there and can
 * be looked at; else returns NULL.
 */
static Relation
open_record(Findings *findings, Relation relation, const char *record)
{
	Oid			relid = get_relname_relid(record, RelationGetNamespace(relation));

	return OidIsValid(relid) ? look_at(findings, relid) : NULL;
}

/*
 * Looks at the ledger or history of a table, whose guard names it, and at its triggers.
 * Returns it, to be looked away from, or NULL if it is not there.
 */
static Relation
find_record_problems(Findings *findings, Relation relation, const GuardTrigger *guard,
					 const RecordKind *kind)
{
	const char *name = record_of_guard(guard, kind);
	Relation	record = open_record(findings, relation, name);

	if (record == NULL)
	{
		add_problem(findings, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, PASSING | ALTERABLE, NULL,
					"%s \"%s.%s\" is missing", kind->name,
					get_namespace_name(RelationGetNamespace(relation)), name);
		return NULL;
	}
	find_misfits(findings, kind, record, relation, guard->key_columns);
	if (record->rd_rel->relkind == RELKIND_RELATION)
	{
		find_trigger_problem(findings, record, LEDGER_TRIGGER, LEDGER_TRIGGER);
		find_trigger_problem(findings, record, LEDGER_TRUNCATE_TRIGGER, LEDGER_TRUNCATE_TRIGGER);
	}
	findings->watched = lappend_oid(findings->watched, RelationGetRelid(record));
	return record;
}

/*
 * Looks at the history of a table, if it is to have one.
 */
static void
find_history_problems(Findings *findings, Relation relation, const GuardTrigger *guard)
{
	Relation	history;

	if (guard->history == NULL ||
		(history = find_record_problems(findings, relation, guard, &history_kind)) == NULL)
		return;
	findings->history = RelationGetRelid(history);
	look_away(findings, history);
}

/*
 * Looks at the ledger of a table and at its triggers, and notes by which indexes
 * it tells keys apart, and whether a trigger may change its new rows.
 */
static void
find_ledger_problems(Findings *findings, Relation relation, const GuardTrigger *guard)
{
	Relation	ledger = find_record_problems(findings, relation, guard, &ledger_kind);
	List	   *keys;
	ListCell   *cell;

	if (ledger == NULL)
		return;
	if (ledger->rd_rel->relkind == RELKIND_RELATION)
	{
		findings->before_trigger = ledger->trigdesc != NULL &&
			ledger->trigdesc->trig_insert_before_row;
		keys = key_indexes(ledger, record_key_names(guard->key_columns));
		findings->watched = list_concat(findings->watched, keys);
		foreach(cell, keys)
		{
			char	   *name = get_rel_name(lfirst_oid(cell));

			if (name != NULL)
				findings->ledger_keys = lappend(findings->ledger_keys, name);
		}
	}
	findings->ledger = RelationGetRelid(ledger);
	look_away(findings, ledger);
}

/*
 * Looks at one lifecycle of a table: its columns, its guard, also that of partitions, its
 * ledger and its history; with the first, at what the table has once.  See find_all_problems.
 */
static void
find_lifecycle_problems(Findings *findings, Relation relation, Relation partition,
						const GuardTrigger *guard, bool is_first)
{
	find_column_problems(findings, relation, guard);
	/* where Citus creates a trigger on TRUNCATE, it leaves out the shards */
	if (is_first && (find_trigger(relation, TRUNCATE_TRIGGER) != NULL ||
					 !is_shard(RelationGetRelid(relation))))
		find_trigger_problem(findings, relation, TRUNCATE_TRIGGER, TRUNCATE_TRIGGER);
	find_trigger_problem(findings, partition == NULL ? relation : partition, guard->name,
						 GUARD_TRIGGER);
	find_partition_problems(findings, relation, guard);
	find_ledger_problems(findings, relation, guard);
	find_history_problems(findings, relation, guard);
}

/*
 * Looks at all of a table that has a guard: the table, its triggers and those of
 * its partitions, and its ledgers; or, with a state column, at that lifecycle alone.
 * The table is the topmost one, of a partitioned one; with a partition, of all
 * partitions at that one alone.
 */
static void
find_all_problems(Findings *findings, Relation relation, Relation partition,
				  const char *state_column)
{
	bool		found = false;
	ListCell   *cell;

	find_kind_problems(findings, relation);
	foreach(cell, read_guards(relation))
	{
		const GuardTrigger *guard = lfirst(cell);

		if (state_column != NULL && strcmp(guard->state_column, state_column) != 0)
			continue;
		findings->about = RelationGetRelid(relation);
		find_lifecycle_problems(findings, relation, partition, guard, !found);
		found = true;
	}
	if (!found)
	{
		findings->problems = NIL;
		findings->about = RelationGetRelid(relation);
		if (partition == NULL)
			add_problem(findings, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, 0, NULL,
						"trigger \"%s\" of relation \"%s\" is not the one that govern creates",
						GUARD_TRIGGER, RelationGetRelationName(relation));
		else
			add_problem(findings, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, 0, NULL,
						"relation \"%s\", which it is a partition of, is not governed",
						RelationGetRelationName(relation));
	}
}

/*
 * Returns the problems of a table that has a guard; with a state column, of that
 * lifecycle alone.
 */
List *
governed_problems(Relation relation, const char *state_column)
{
	Findings	findings = {0};

	findings.partitions = find_all_inheritors(RelationGetRelid(relation), NoLock, NULL);
	find_all_problems(&findings, relation, NULL, state_column);
	return findings.problems;
}

/*
 * Returns the problems of a table that has a guard, as far as DDL is judged by
 * them: of its partitions just those of the OIDs given are looked at, and no
 * other relation is locked; with a state column, of that lifecycle alone.
 */
List *
problems_for_ddl(Relation relation, const List *partitions, const char *state_column)
{
	Findings	findings = {.unlocked = true,.partitions = partitions};

	find_all_problems(&findings, relation, NULL, state_column);
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
		{ACL_MAINTAIN, "MAINTAIN"}
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
				add_imprudence(findings, "role \"%s\" has the right %s on %s \"%s\"",
							   grantee ? grantee : "(dropped)", rights[j].name, on,
							   RelationGetRelationName(ledger));
		}
	}
}

/*
 * Adds the rights of others on a ledger and on its columns.
 */
static void
find_all_rights(Findings *findings, Relation ledger)
{
	Datum		relid = ObjectIdGetDatum(RelationGetRelid(ledger));

	/* 0 stands for the ledger as a whole */
	for (AttrNumber attno = 0; attno <= RelationGetNumberOfAttributes(ledger); attno++)
	{
		HeapTuple	tuple;
		bool		isnull;
		Datum		acl;

		tuple = attno == 0 ? SearchSysCache1(RELOID, relid) :
			SearchSysCache2(ATTNUM, relid, Int16GetDatum(attno));
		if (!HeapTupleIsValid(tuple))
			continue;
		acl = attno == 0 ? SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &isnull) :
			SysCacheGetAttr(ATTNUM, tuple, Anum_pg_attribute_attacl, &isnull);
		if (!isnull)
			find_rights(findings, ledger, DatumGetAclP(acl),
						psprintf("%s%s", attno == 0 ? "" : "a column of ", findings->kind->name));
		ReleaseSysCache(tuple);
	}
}

/*
 * Adds the user's triggers on a ledger or history that see its new rows.
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
		if (TRIGGER_FOR_BEFORE(trigger->tgtype))
			add_imprudence(findings, "trigger \"%s\" fires before each row of %s \"%s\" is stored",
						   trigger->tgname, findings->kind->name, RelationGetRelationName(ledger));
		else
			add_imprudence(findings, "trigger \"%s\" fires after rows of %s \"%s\" are stored",
						   trigger->tgname, findings->kind->name, RelationGetRelationName(ledger));
	}
}

/*
 * Returns whether a locked ledger or history could run code that govern has not put there,
 * when a row is written: of a trigger, a rule, a default, a constraint or an index.
 * An additional column counts too: it may be of a domain with a constraint.
 */
bool
has_user_code(const RecordKind *kind, Relation ledger, const List *key_columns)
{
	TupleDesc	descriptor = RelationGetDescr(ledger);
	const TupleConstr *constraints = descriptor->constr;
	TriggerDesc *triggers = CopyTriggerDesc(ledger->trigdesc);
	int			columns = 0;
	ListCell   *cell;

	for (int i = 0; i < descriptor->natts; i++)
		columns += !TupleDescAttr(descriptor, i)->attisdropped;
	columns -= list_length(key_columns);
	if (columns != kind->ncolumns || ledger->rd_rules != NULL ||
		ledger->rd_rel->relrowsecurity ||
		(constraints != NULL && (constraints->num_check > 0 || constraints->num_defval > 0)))
		return true;
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		if (!triggers->triggers[i].tgisinternal &&
			!is_own_function(triggers->triggers[i].tgfoid, "guard_ledger"))
			return true;
	}
	foreach(cell, RelationGetStatExtList(ledger))
	{
		HeapTuple	statistics = SearchSysCache1(STATEXTOID, ObjectIdGetDatum(lfirst_oid(cell)));
		bool		has_code;

		if (!HeapTupleIsValid(statistics))
			continue;
		has_code = !heap_attisnull(statistics, Anum_pg_statistic_ext_stxexprs, NULL);
		ReleaseSysCache(statistics);
		if (has_code)
			return true;
	}
	foreach(cell, RelationGetIndexList(ledger))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);
		bool		has_code;

		has_code = !heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL) ||
			!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
		index_close(index, AccessShareLock);
		if (has_code)
			return true;
	}
	return false;
}

/*
 * Returns whether an index, which is open, finds the rows of a key: its first columns are
 * those columns of the relation, in whatever order.
 */
static bool
finds_key(Relation index, Relation relation, const List *columns)
{
	ListCell   *cell;

	if (!index->rd_index->indisvalid || index->rd_index->indnkeyatts < list_length(columns) ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return false;
	foreach(cell, columns)
	{
		Form_pg_attribute key = column_named(relation, lfirst(cell));
		bool		found = false;

		for (int i = 0; i < list_length(columns) && key != NULL; i++)
			found = found || index->rd_index->indkey.values[i] == key->attnum;
		if (!found)
			return false;
	}
	return true;
}

/*
 * Adds the user's unique indexes and exclusion constraints on a ledger or history, and
 * that a history has no index on its key.
 */
static void
find_user_indexes(Findings *findings, Relation ledger, const List *key_columns)
{
	List	   *names = record_key_names(key_columns);
	bool		is_history = findings->kind == &history_kind;
	List	   *keys = is_history ? NIL : key_indexes(ledger, names);
	bool		indexed = false;
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(ledger))
	{
		Relation	index = look_at(findings, lfirst_oid(cell));

		if (index == NULL)
			continue;
		indexed = indexed || finds_key(index, ledger, names);
		if ((index->rd_index->indisunique || index->rd_index->indisexclusion) &&
			(is_history || !index->rd_index->indisprimary) &&
			!list_member_oid(keys, lfirst_oid(cell)))
			add_imprudence(findings, "index \"%s\" of %s \"%s\" can refuse a %s",
						   RelationGetRelationName(index), findings->kind->name,
						   RelationGetRelationName(ledger), is_history ? "transition" : "fate");
		look_away(findings, index);
	}
	if (is_history && !indexed)
		add_imprudence(findings, "history \"%s\" has no index on \"%s\"",
					   RelationGetRelationName(ledger),
					   list_length(names) == 1 ? (char *) linitial(names) : name_list(names));
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
	if (!event_triggers)
		add_imprudence(findings, "event_triggers is off here, so that no event trigger fires");
	for (int i = 0; i < lengthof(wanted); i++)
	{
		if (!fires[i])
			add_imprudence(findings, "event trigger \"%s\" is missing or does not fire always",
						   wanted[i].name);
	}
}

/*
 * Adds what is imprudent about the ledger or history of a table.
 */
static void
find_record_imprudences(Findings *findings, Relation relation, const GuardTrigger *guard,
						const RecordKind *kind)
{
	const char *name = record_of_guard(guard, kind);
	Relation	record = name == NULL ? NULL : open_record(findings, relation, name);

	if (record == NULL)
		return;
	findings->kind = kind;
	if (record->rd_rel->relkind == RELKIND_RELATION)
	{
		find_all_rights(findings, record);
		find_user_triggers(findings, record);
		find_user_indexes(findings, record, guard->key_columns);
	}
	look_away(findings, record);
}

/*
 * Returns what is imprudent about a table that has a guard; with a state column, about
 * that lifecycle alone.  unlocked: without waiting for anybody.
 */
List *
imprudences(Relation relation, const char *state_column, bool unlocked)
{
	Findings	findings = {.unlocked = unlocked};
	ListCell   *cell;

	find_event_triggers(&findings);
	foreach(cell, read_guards(relation))
	{
		const GuardTrigger *guard = lfirst(cell);

		if (state_column != NULL && strcmp(guard->state_column, state_column) != 0)
			continue;
		find_record_imprudences(&findings, relation, guard, &ledger_kind);
		find_record_imprudences(&findings, relation, guard, &history_kind);
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
	governed->history_oid = findings->history;
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
judge_soundness(Governed *governed, Relation relation)
{
	uint64		begun = begin_judgement(governed);
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "petition_cas judging",
											   ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(work);
	Findings	findings = {0};

	if (governed->root == governed->relid)
		find_all_problems(&findings, relation, NULL, governed->state.name);
	else
	{
		Relation	root = look_at(&findings, governed->root);

		if (root == NULL)
			add_problem(&findings, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, 0, NULL,
						"the table that it is a partition of is gone");
		else
		{
			find_all_problems(&findings, root, relation, governed->state.name);
			look_away(&findings, root);
		}
	}
	keep_findings(governed, &findings, begun);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(work);
}

/*
 * Returns whether a governed relation, whose ledger and history these are, may be given a
 * fate.
 * It is looked at just the first time, and again after an invalidation of what
 * that rests on.  An unsound one is looked at each time: nobody has to wait for
 * his repair to be noticed.
 */
static bool
is_sound_with(Governed *governed, Relation relation, Oid ledger, Oid history)
{
	if (!governed->judged || governed->problems != NIL || governed->ledger_oid != ledger ||
		governed->history_oid != history)
		judge_soundness(governed, relation);
	return governed->problems == NIL;
}

/*
 * Returns whether a governed relation may be given a fate.
 */
bool
is_sound(Governed *governed, Relation relation)
{
	return is_sound_with(governed, relation, governed_ledger(governed, true),
						 governed_history(governed, true));
}

/*
 * Returns the ledger of a governed relation that may be given a fate, locked as
 * it is to be written, and so is its history; asked before each.  Raises 55000 with the
 * problems of one that is unsound; 42P01 if its ledger or history is gone, and 42501 if
 * that belongs to another role.
 */
Oid
check_sound(Governed *governed, Relation relation)
{
	Oid			ledger;
	Oid			history;

	/* the ledger that was looked at is the one still, if nothing has come in */
	if (governed->valid && governed->judged && governed->problems == NIL)
	{
		ledger = governed->ledger_oid;
		LockRelationOid(ledger, RowExclusiveLock);
		if (OidIsValid(governed->history_oid))
			LockRelationOid(governed->history_oid, RowExclusiveLock);
		if (governed->valid && governed->judged)
			return ledger;
	}

	/* what is judged must not change before it is written */
	ledger = governed_ledger(governed, false);
	history = governed_history(governed, false);
	LockRelationOid(ledger, RowExclusiveLock);
	if (OidIsValid(history))
		LockRelationOid(history, RowExclusiveLock);
	if (is_sound_with(governed, relation, ledger, history))
		return ledger;
	(void) ledger_owner(&ledger_kind, ledger, governed->ledger, governed->root, governed->relation);
	if (OidIsValid(history))
		(void) ledger_owner(&history_kind, history, governed->options.history, governed->root,
							governed->relation);
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

	foreach(cell, governed_problems(relation, governed->state.name))
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
	judge_soundness(governed, relation);
	report_unsound(relation, governed->problems);
}
