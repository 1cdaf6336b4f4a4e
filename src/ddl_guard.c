/*-------------------------------------------------------------------------
 *
 * ddl_guard.c
 *	  The event triggers: they judge commands (DDL) on governed tables, as the
 *	  guard (guard.c) judges rows.
 *
 * This is a courtesy that comes early: whatever gets through here, the guard
 * judges a table before it gives it a fate (soundness.c).
 *
 * What a command worked on is not read from a list of commands.  Whatever
 * changes a relation invalidates its entry in the relation cache and holds a
 * lock on it; so the relations that were invalidated since the command began,
 * and that this transaction has locked, are those that it touched.  Each of
 * them that is governed, or a ledger, is then judged as a whole, and so are
 * those that the command named, as they were before it.
 *
 * A restore builds governed tables step by step, and with several jobs in any
 * order; and who repairs a table need not do it in one command.  So a command
 * may leave no problem that was not there before it.  Where that is not known,
 * since the command did not name the table, it counts what the drop of something
 * else can leave behind, if the command drops or renames anything, in a table that
 * has no other problem.  Only a plain CREATE TRIGGER is forgiven what a restore does
 * in the commands that follow it.
 *
 * Besides, some commands are refused although a table is sound after them:
 * those that write another key or state into its rows (ALTER COLUMN TYPE), or
 * that give it another ledger.
 *
 * Commands that commit midway are judged before they begin.
 *
 * The functions read catalogs alone; they run with the rights of whoever issued
 * the command, and need none.  They wait for no lock but that of what the command
 * names, before it begins, as it would itself, and hold none.  What the command
 * changes is locked by it; to wait for another lock meanwhile could close a circle,
 * or let whoever holds that lock keep the command from being judged.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_language.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "commands/tablecmds.h"
#include "commands/trigger.h"
#include "common/string.h"
#include "executor/spi.h"
#include "lib/qunique.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "ddl_guard.h"
#include "errors.h"
#include "govern.h"
#include "governed.h"
#include "columns.h"
#include "ledger.h"
#include "session.h"
#include "shard.h"
#include "soundness.h"

PG_FUNCTION_INFO_V1(guard_start);
PG_FUNCTION_INFO_V1(guard_ddl);
PG_FUNCTION_INFO_V1(guard_drop);

/* What is advised where something has to stay as long as a table is governed */
#define UNGOVERN_HINT \
	"Call ungovern, alter the table and its ledger, and govern again."

/* A governed table that a command names, or whose ledger it names, before it */
typedef struct Before
{
	Oid			relid;			/* the topmost one, of a partitioned table */
	bool		counts;			/* false: its ledger is somebody else's */
	Oid			owner;
	List	   *guards;			/* KnownGuards */
	List	   *problems;		/* Problems */
} Before;

/* A column of the key, of states or of evidence, as it is declared */
typedef struct KnownColumn
{
	const char *name;
	Oid			type;
	int32		typmod;
	Oid			collation;
} KnownColumn;

/* A guard of a table, and the ledger and history that it names, if they are there */
typedef struct KnownGuard
{
	GuardTrigger *guard;
	Oid			ledger;
	Oid			history;
	List	   *columns;		/* KnownColumns */
} KnownGuard;

/*
 * A command that is running, between its two event triggers; in the top
 * transaction's memory context.  A function that it calls may run another one.
 */
typedef struct Watch
{
	struct Watch *outer;
	int			nest_level;		/* of the subtransaction that it runs in */
	bool		is_altering;	/* it, or an outer one, is an ALTER TABLE */
	List	   *befores;		/* how the tables are that it names */
	List	   *ungoverned;		/* OIDs of those that it names, and that had
								 * no guard */
	Oid			view;			/* that it replaces, or InvalidOid */
	int			view_columns;	/* of that, before */
	bool		dropped;		/* it has dropped something */
} Watch;

static Watch *watch = NULL;		/* the innermost one */

/* What is being judged */
typedef struct Event
{
	Node	   *command;
	Oid			function;		/* the event trigger's */
	Watch	   *watch;			/* NULL if nobody saw the command begin */
	bool		has_guarded;	/* of a drop: whether they are read, */
	List	   *guarded;		/* the Guardeds that are left */
} Event;

/* A table that has guards */
typedef struct Guarded
{
	Oid			relid;
	Oid			namespace;
	List	   *guards;			/* GuardTriggers */
} Guarded;

/* ----------------------------------------------------------------------
 * What a command has touched
 * ----------------------------------------------------------------------
 */

/*
 * The relations that were invalidated since the outermost command began, with
 * repetitions.  Others' relations are among them: what other backends do
 * arrives the same way.
 */
static Oid *touched = NULL;
static int	ntouched = 0;
static int	touched_capacity = 0;
static bool touched_lost = false;	/* there was no memory for some */

/*
 * Sorts what was touched and drops the repetitions.
 */
static void
sort_touched(void)
{
	qsort(touched, ntouched, sizeof(Oid), oid_cmp);
	ntouched = qunique(touched, ntouched, sizeof(Oid), oid_cmp);
}

/*
 * Relation cache callback: notes the relation while a command is watched.  It
 * must not raise an error.
 */
static void
note_touched(Datum arg, Oid relid)
{
	if (watch == NULL || !OidIsValid(relid) || (ntouched > 0 && touched[ntouched - 1] == relid))
		return;
	if (ntouched == touched_capacity)
		sort_touched();
	if (ntouched > touched_capacity / 2 || touched == NULL)
	{
		int			capacity = Max(64, touched_capacity * 2);
		Oid		   *more = MemoryContextAllocExtended(TopMemoryContext, capacity * sizeof(Oid),
													  MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);

		if (more != NULL)
		{
			if (touched != NULL)
			{
				memcpy(more, touched, ntouched * sizeof(Oid));
				pfree(touched);
			}
			touched = more;
			touched_capacity = capacity;
		}
	}
	if (ntouched == touched_capacity)
		touched_lost = true;
	else
		touched[ntouched++] = relid;
}

/*
 * Makes a command the innermost one that is watched; NULL: none is.
 */
static void
set_watch(Watch *innermost)
{
	watch = innermost;
	petition_cas_altering_table = watch != NULL && watch->is_altering;
	if (watch != NULL)
		return;
	touched_lost = false;
	ntouched = 0;
	if (touched_capacity > 4096)
	{
		pfree(touched);
		touched = NULL;
		touched_capacity = 0;
	}
}

/*
 * At the end of a transaction no command is running.
 */
static void
end_transaction(XactEvent event, void *arg)
{
	set_watch(NULL);
}

/*
 * Nor are those that a subtransaction ran that is rolled back.
 */
static void
end_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (watch != NULL && watch->nest_level >= GetCurrentTransactionNestLevel())
		set_watch(watch->outer);
}

/*
 * Sets up what the event triggers need; called once, when the module is loaded.
 */
void
ddl_guard_init(void)
{
	CacheRegisterRelcacheCallback(note_touched, (Datum) 0);
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
}

/* The weakest lock that a command takes on a relation that it changes */
#define CHANGING_LOCK ShareUpdateExclusiveLock

/*
 * Returns whether this transaction holds that lock on a relation, or a stronger
 * one.  What is not locked is not even opened: others may be changing it.
 */
static bool
is_locked_by_us(Oid relid, LOCKMODE weakest)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, IsSharedRelation(relid) ? InvalidOid : MyDatabaseId, relid);
	for (LOCKMODE mode = weakest; mode <= AccessExclusiveLock; mode++)
	{
		if (holds_lock(&tag, mode))
			return true;
	}
	return false;
}

/*
 * Returns whether the relation, which may be gone, could have one of our triggers.
 * Only tables do, and it costs no more than a look into the system cache to tell.
 */
static bool
may_concern_us(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool		may;

	if (!HeapTupleIsValid(tuple))
		return false;
	may = ((Form_pg_class) GETSTRUCT(tuple))->relhastriggers;
	ReleaseSysCache(tuple);
	return may;
}

/* ----------------------------------------------------------------------
 * Tables and ledgers
 * ----------------------------------------------------------------------
 */

/*
 * Returns the governed tables whose guards name a ledger or history, whoever has them.
 */
static List *
tables_naming(Relation ledger, const Event *event)
{
	const char *schema = get_namespace_name(get_func_namespace(event->function));

	return tables_naming_record(own_function(schema, "guard_fate"), RelationGetNamespace(ledger),
								RelationGetRelationName(ledger));
}

/*
 * Returns whether a table that names a ledger, of that owner, uses it.
 *
 * Whoever may create tables beside a ledger can give one a guard that names
 * it; what belongs to roles that have nothing to do with each other is no use.
 * Owners of whom one has been granted the other count, since one could give the
 * other the table, alter the ledger and take the table back.  That a superuser may
 * act as anybody relates him to nobody.
 */
static bool
uses_ledger_of(Oid table, Oid owner)
{
	Oid			role = relation_owner(table);

	return is_member_of_role_nosuper(role, owner) || is_member_of_role_nosuper(owner, role);
}

/*
 * Returns the governed tables that use a ledger, but not that one (InvalidOid:
 * all).
 */
static List *
tables_using(Relation ledger, Oid except, const Event *event)
{
	List	   *tables = NIL;
	ListCell   *cell;

	foreach(cell, tables_naming(ledger, event))
	{
		if (lfirst_oid(cell) != except &&
			uses_ledger_of(lfirst_oid(cell), ledger->rd_rel->relowner))
			tables = lappend_oid(tables, lfirst_oid(cell));
	}
	return tables;
}

/*
 * Returns the governed table, the topmost one, that an open relation with a
 * guard belongs to.
 */
static Oid
governed_root(Relation relation)
{
	Oid			root = topmost_table(RelationGetRelid(relation));

	/* a governed table that was made a partition of another is its own */
	return root == RelationGetRelid(relation) || read_guard_names(root) != NIL ?
		root : RelationGetRelid(relation);
}

/*
 * Returns the governed tables, topmost ones, that an open relation belongs to:
 * itself, the one that it is a partition of, or those that use it as a ledger.
 */
static List *
governed_tables_of(Relation relation, const Event *event)
{
	if (has_guard(relation))
		return list_make1_oid(governed_root(relation));
	return is_ledger(relation) ? tables_using(relation, InvalidOid, event) : NIL;
}

/*
 * Returns how a column is declared; with InvalidOid as its type if it is not there.
 */
static KnownColumn
known_column(Relation relation, const char *name)
{
	AttrNumber	attno = get_attnum(RelationGetRelid(relation), name);
	KnownColumn column = {name, InvalidOid, -1, InvalidOid};

	if (attno > InvalidAttrNumber)
	{
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), attno - 1);

		column.type = attribute->atttypid;
		column.typmod = attribute->atttypmod;
		column.collation = attribute->attcollation;
	}
	return column;
}

/*
 * Returns the names of the columns that a guard judges besides the key: that of the
 * state, and those of the evidence.
 */
static List *
judged_columns(const GuardTrigger *guard)
{
	return lcons(guard->state_column, evidence_columns(guard->options));
}

/*
 * Returns the OID of the ledger or history that a guard of a relation names; InvalidOid
 * if it is not there, or there is to be none.
 */
static Oid
known_record(Relation relation, const GuardTrigger *guard, const RecordKind *kind)
{
	const char *name = record_of_guard(guard, kind);

	return name == NULL ? InvalidOid : get_relname_relid(name, RelationGetNamespace(relation));
}

/*
 * Returns the guards of a table, and the ledgers and histories that they name.
 */
static List *
known_guards(Relation relation)
{
	List	   *known = NIL;
	ListCell   *cell;

	foreach(cell, read_guards(relation))
	{
		KnownGuard *guard = palloc0(sizeof(KnownGuard));
		ListCell   *name;

		guard->guard = lfirst(cell);
		guard->ledger = known_record(relation, guard->guard, &ledger_kind);
		guard->history = known_record(relation, guard->guard, &history_kind);
		foreach(name, list_concat_copy(guard->guard->key_columns, judged_columns(guard->guard)))
		{
			KnownColumn *column = palloc(sizeof(KnownColumn));

			*column = known_column(relation, lfirst(name));
			guard->columns = lappend(guard->columns, column);
		}
		known = lappend(known, guard);
	}
	return known;
}

/*
 * Returns the guard of that name among others, or NULL.
 */
static const KnownGuard *
guard_named(const List *guards, const char *name)
{
	ListCell   *cell;

	foreach(cell, guards)
	{
		if (strcmp(((KnownGuard *) lfirst(cell))->guard->name, name) == 0)
			return lfirst(cell);
	}
	return NULL;
}

/*
 * Returns whether two guards say the same.
 */
static bool
is_same_guard(const GuardTrigger *a, const GuardTrigger *b)
{
	return strcmp(a->key_list, b->key_list) == 0 &&
		strcmp(a->state_column, b->state_column) == 0 && strcmp(a->ledger, b->ledger) == 0 &&
		strcmp(a->graph, b->graph) == 0 && strcmp(a->options, b->options) == 0;
}

/* ----------------------------------------------------------------------
 * Tables as they were before a command
 * ----------------------------------------------------------------------
 */

/*
 * Returns what is known of a table as it was before the command, or NULL.
 */
static Before *
find_before(Oid relid, const Event *event)
{
	ListCell   *cell;

	if (event->watch == NULL)
		return NULL;
	foreach(cell, event->watch->befores)
	{
		if (((Before *) lfirst(cell))->relid == relid)
			return lfirst(cell);
	}
	return NULL;
}

/*
 * Notes how a governed table is before the command, which names it or a part of
 * it.
 */
static void
note_before(Oid relid, Oid named, bool counts, const Event *event)
{
	Relation	relation = look_at_relation(relid);
	MemoryContext caller;
	Before	   *before;

	if (relation == NULL)
		return;
	caller = MemoryContextSwitchTo(TopTransactionContext);
	before = palloc(sizeof(Before));
	before->relid = relid;
	before->counts = counts;
	before->owner = relation->rd_rel->relowner;
	before->guards = known_guards(relation);
	before->problems = problems_for_ddl(relation, list_make1_oid(named), NULL);
	event->watch->befores = lappend(event->watch->befores, before);
	MemoryContextSwitchTo(caller);
	RelationClose(relation);
}

/*
 * Notes that a relation, which the command names, has no guard.
 */
static void
note_ungoverned(Oid relid, const Event *event)
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);

	event->watch->ungoverned = list_append_unique_oid(event->watch->ungoverned, relid);
	MemoryContextSwitchTo(caller);
}

/*
 * Forgets that of a relation that this session itself governs while a command is running,
 * as an event trigger of the user's may.
 */
static void
forget_ungoverned(Oid relid)
{
	for (Watch *command = watch; command != NULL; command = command->outer)
		command->ungoverned = list_delete_oid(command->ungoverned, relid);
}

/*
 * What is noted is waited for with this lock: it conflicts with that of govern, CREATE
 * TRIGGER and whoever alters the relation, and not with those who read and write.  All
 * commands of note_command take a stronger one, that on a heap of which they name an index
 * excepted.  It is not kept: with it two commands that want a stronger one would wait for
 * each other.
 */
#define NOTING_LOCK RowExclusiveLock

/*
 * Notes how the governed tables are that a relation, which the command names,
 * belongs to.  Those that use it as a ledger are noted even if that is somebody
 * else's now: the command may change that.
 *
 * Waits for whoever alters or governs the relation, as the command is about to do anyway.
 */
static void
note_relation(Oid relid, const Event *event)
{
	char		relkind = get_rel_relkind(relid);
	LOCKMODE	lock = NOTING_LOCK;
	Relation	relation;
	List	   *tables;
	bool		by_name;
	Oid			owner;
	ListCell   *cell;

	if (relkind == RELKIND_INDEX || relkind == RELKIND_PARTITIONED_INDEX)
	{
		relid = IndexGetRelation(relid, true);
		if (!IsA(event->command, DropStmt))
			lock = AccessShareLock;
	}
	if (!OidIsValid(relid))
		return;
	LockRelationOid(relid, lock);
	UnlockRelationOid(relid, lock);
	if (!may_concern_us(relid) || (relation = look_at_relation(relid)) == NULL)
	{
		note_ungoverned(relid, event);
		return;
	}
	if (!has_guard(relation))
		note_ungoverned(relid, event);
	by_name = !has_guard(relation) && is_ledger(relation);
	tables = by_name ? tables_naming(relation, event) : governed_tables_of(relation, event);
	owner = relation->rd_rel->relowner;
	RelationClose(relation);
	foreach(cell, tables)
	{
		Oid			table = lfirst_oid(cell);

		if (find_before(table, event) == NULL)
			note_before(table, relid, !by_name || uses_ledger_of(table, owner), event);
	}
}

/*
 * Returns whether the server lets the user run any command of note_command on a relation:
 * as its owner, as that of its schema, who may drop it, or with the right to give it
 * triggers.  It refuses everybody else without waiting.
 */
static bool
may_command(Oid relid)
{
	Oid			user = GetUserId();
	HeapTuple	tuple;
	bool		owns;

	if (object_ownercheck(RelationRelationId, relid, user) ||
		pg_class_aclcheck(relid, user, ACL_TRIGGER) == ACLCHECK_OK)
		return true;
	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(get_rel_namespace(relid)));
	if (!HeapTupleIsValid(tuple))
		return false;
	owns = has_privs_of_role(user, ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner);
	ReleaseSysCache(tuple);
	return owns;
}

/*
 * Notes the relations of a part of a command: of a name, of a list, or of a
 * subcommand of ALTER TABLE that makes the table a part of another one, or ends
 * that.  Everything else is passed over.  What a name means is asked again after waiting, as
 * the command itself does: whoever was waited for may have given it to another relation.
 */
static void
note_names(Node *node, const Event *event)
{
	Oid			relid;
	ListCell   *cell;

	if (node == NULL)
		return;
	switch (nodeTag(node))
	{
		case T_RangeVar:
			relid = RangeVarGetRelid((RangeVar *) node, NoLock, true);
			if (!OidIsValid(relid) || !may_command(relid))
				break;
			relid = RangeVarGetRelidExtended((RangeVar *) node, NOTING_LOCK, RVR_MISSING_OK, NULL, NULL);
			if (OidIsValid(relid))
			{
				UnlockRelationOid(relid, NOTING_LOCK);
				note_relation(relid, event);
			}
			break;
		case T_List:
			foreach(cell, (List *) node)
				note_names(lfirst(cell), event);
			break;
		case T_AlterTableCmd:
			note_names(((AlterTableCmd *) node)->def, event);
			break;
		case T_PartitionCmd:
			note_names((Node *) ((PartitionCmd *) node)->name, event);
			break;
		default:
			break;
	}
}

/*
 * Notes the relations that belong to an extension.
 */
static void
note_extension(const char *extension, const Event *event)
{
	Oid			oid = get_extension_oid(extension, true);
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	List	   *members = NIL;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	ListCell   *cell;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ExtensionRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(oid));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		if (form->classid == RelationRelationId && form->deptype == DEPENDENCY_EXTENSION)
			members = lappend_oid(members, form->objid);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	foreach(cell, members)
		note_relation(lfirst_oid(cell), event);
}

/*
 * Notes what a DROP names: a relation, the table of what is dropped, or what
 * belongs to an extension.
 */
static void
note_drop(DropStmt *command, const Event *event)
{
	ListCell   *cell;

	foreach(cell, command->objects)
	{
		List	   *name;

		switch (command->removeType)
		{
			case OBJECT_EXTENSION:
				note_extension(strVal(lfirst(cell)), event);
				continue;
			case OBJECT_TABLE:
			case OBJECT_FOREIGN_TABLE:
			case OBJECT_INDEX:
				name = lfirst_node(List, cell);
				break;
			case OBJECT_TRIGGER:
			case OBJECT_RULE:
			case OBJECT_POLICY:
				name = list_copy(lfirst_node(List, cell));
				name = list_truncate(name, list_length(name) - 1);
				break;
			default:
				return;
		}
		note_names((Node *) makeRangeVarFromNameList(name), event);
	}
}

/*
 * Returns how many columns a relation has, those that were dropped included.
 */
static int
count_columns(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	int			count;

	if (!HeapTupleIsValid(tuple))
		return 0;
	count = ((Form_pg_class) GETSTRUCT(tuple))->relnatts;
	ReleaseSysCache(tuple);
	return count;
}

/*
 * Notes the view that a command replaces, which may give it more columns.
 */
static void
note_view(ViewStmt *command, const Event *event)
{
	Oid			namespace = RangeVarGetCreationNamespace(command->view);

	event->watch->view = get_relname_relid(command->view->relname, namespace);
	event->watch->view_columns = count_columns(event->watch->view);
}

/*
 * Notes how the governed tables are that a command, which may be a part of the
 * one that the event is about, names.  Commands on indexes are left out that weaken
 * nothing: CREATE INDEX and REINDEX do not wait for each other.
 */
static void
note_command(Node *command, const Event *event)
{
	/* where commands have a name, or a list of them */
	static const struct
	{
		NodeTag		tag;
		size_t		offset;
	}			names[] = {
		{T_AlterTableStmt, offsetof(AlterTableStmt, relation)},
		{T_AlterTableStmt, offsetof(AlterTableStmt, cmds)},
		{T_RenameStmt, offsetof(RenameStmt, relation)},
		{T_AlterObjectSchemaStmt, offsetof(AlterObjectSchemaStmt, relation)},
		{T_CreateTrigStmt, offsetof(CreateTrigStmt, relation)},
		{T_RuleStmt, offsetof(RuleStmt, relation)},
		{T_CreatePolicyStmt, offsetof(CreatePolicyStmt, table)},
		{T_AlterPolicyStmt, offsetof(AlterPolicyStmt, table)},
		{T_CreateStatsStmt, offsetof(CreateStatsStmt, relations)},
		{T_CreateStmt, offsetof(CreateStmt, inhRelations)},
		{T_CreateForeignTableStmt, offsetof(CreateForeignTableStmt, base.inhRelations)}
	};
	ListCell   *cell;

	for (int i = 0; i < lengthof(names); i++)
	{
		if (nodeTag(command) == names[i].tag)
			note_names(*(Node **) ((char *) command + names[i].offset), event);
	}
	if (IsA(command, DropStmt))
		note_drop((DropStmt *) command, event);
	else if (IsA(command, ViewStmt) && ((ViewStmt *) command)->replace)
		note_view((ViewStmt *) command, event);
	else if (IsA(command, AlterObjectSchemaStmt) &&
			 ((AlterObjectSchemaStmt *) command)->objectType == OBJECT_EXTENSION)
		note_extension(strVal(((AlterObjectSchemaStmt *) command)->object), event);
	else if (IsA(command, CreateSchemaStmt))
	{
		foreach(cell, ((CreateSchemaStmt *) command)->schemaElts)
			note_command(lfirst(cell), event);
	}
}

/* ----------------------------------------------------------------------
 * ddl_command_start
 * ----------------------------------------------------------------------
 */

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
	event->command = call->parsetree;
	event->function = fcinfo->flinfo->fn_oid;
	event->watch = watch;
	return !petition_cas_own_ddl && !petition_cas_allow_unguard;
}

/*
 * Raises PF006 if an index that is about to be dropped is the last one that
 * makes the key of a governed table, or of a ledger, unique.
 */
static void
check_index_kept(Oid index, const Event *event)
{
	Oid			heap = OidIsValid(index) ? IndexGetRelation(index, true) : InvalidOid;
	Relation	relation;
	ListCell   *cell;

	if (!OidIsValid(heap) || !may_concern_us(heap) ||
		(relation = look_at_relation(heap)) == NULL)
		return;
	foreach(cell, governed_tables_of(relation, event))
	{
		List	   *guards = read_guard_names(lfirst_oid(cell));
		List	   *columns;

		if (guards == NIL)
			continue;
		/* all lifecycles have the same key */
		columns = ((GuardTrigger *) linitial(guards))->key_columns;
		if (!has_guard(relation))
			columns = record_key_names(columns);
		if (has_key_index(relation, columns, InvalidOid) &&
			!has_key_index(relation, columns, index))
			report_protected_relation(relation,
									  "cannot drop the unique index on the key of relation \"%s\"",
									  "It is what tells the rows, and their fates, apart. Create another one first.");
	}
	RelationClose(relation);
}

/*
 * guard_start(): before each DDL command, judges one that commits midway, and
 * notes how the tables are that it names.
 *
 * One that commits midway is DROP INDEX CONCURRENTLY, which has marked its index
 * as invalid by the time that others are asked.  (DETACH CONCURRENTLY takes rows
 * away, never fates, and REINDEX CONCURRENTLY drops no index before there is
 * another.)
 */
Datum
guard_start(PG_FUNCTION_ARGS)
{
	Event		event;
	bool		judge = begin_event(fcinfo, "guard_start", "ddl_command_start", &event);
	Watch	   *begun = MemoryContextAllocZero(TopTransactionContext, sizeof(Watch));
	DropStmt   *drop = (DropStmt *) event.command;
	ListCell   *cell;

	begun->outer = watch;
	begun->nest_level = GetCurrentTransactionNestLevel();
	begun->is_altering = IsA(event.command, AlterTableStmt) ||
		(watch != NULL && watch->is_altering);
	event.watch = begun;
	if (petition_cas_own_ddl && IsA(event.command, CreateTrigStmt))
		forget_ungoverned(RangeVarGetRelid(((CreateTrigStmt *) event.command)->relation, NoLock, true));
	if (judge)
		note_command(event.command, &event);
	/* after waiting for whoever is dropping another index */
	if (judge && IsA(drop, DropStmt) && drop->removeType == OBJECT_INDEX && drop->concurrent)
	{
		foreach(cell, drop->objects)
			check_index_kept(RangeVarGetRelid(makeRangeVarFromNameList(lfirst_node(List, cell)),
											  NoLock, true), &event);
	}
	set_watch(begun);
	return PointerGetDatum(NULL);
}

/* ----------------------------------------------------------------------
 * Judging a table after a command
 * ----------------------------------------------------------------------
 */

/*
 * Raises PF006 for a command that left a governed table unsound.
 */
pg_noreturn static void
refuse_unsound(Relation relation, const Problem *problem, const Event *event)
{
	const char *hint = "While the table is governed this has to stay: without it a second fate, or a lost record, would be possible.";

	if (IsA(event->command, DropStmt))
		hint = "Drop the table with it, or call ungovern first.";
	else if (problem->traits & ALTERABLE)
		hint = UNGOVERN_HINT;
	else if (problem->traits & (OTHER_TRIGGER | DISABLED_TRIGGER))
		hint = "It has to fire always, which ALTER TABLE ... ENABLE TRIGGER ends too. Name your own triggers; to restore data, set session_replication_role to replica.";
	ereport(ERROR,
			(errcode(ERRCODE_FATE_PROTECTED),
			 problem->traits & OTHER_TRIGGER ?
			 errmsg("cannot alter the trigger that guards relation \"%s\"",
					get_rel_name(problem->about)) :
			 problem->traits & DISABLED_TRIGGER ?
			 errmsg("cannot disable the trigger that guards relation \"%s\"",
					get_rel_name(problem->about)) :
			 errmsg("command would leave governed relation \"%s\" unsound: %s",
					RelationGetRelationName(relation), problem->text),
			 errdetail_internal("%s", problems_detail(relation, list_make1(problem->text))),
			 errhint("%s", hint),
			 errtable(relation)));
}

/*
 * Gives a ledger or history to the new owner of its table, as the server does it with a
 * sequence that a table owns.  Only one that had the table's former owner,
 * and that no other table uses, goes along: a guard may name anything.  And only
 * one on which nobody has put code, which would run as the new owner from now on
 * without his knowing: for another one, raises PF006.
 */
static void
let_ledger_follow(Relation relation, const Before *before, const GuardTrigger *guard,
				  const RecordKind *kind, Oid ledger_oid, const Event *event)
{
	Oid			owner = relation->rd_rel->relowner;
	Relation	ledger;
	bool		follows;

	if (before->owner == owner || !OidIsValid(ledger_oid) ||
		relation_owner(ledger_oid) != before->owner ||
		(ledger = try_relation_open(ledger_oid, AccessExclusiveLock)) == NULL)
		return;
	follows = ledger->rd_rel->relkind == RELKIND_RELATION && is_ledger(ledger) &&
		tables_using(ledger, RelationGetRelid(relation), event) == NIL;
	if (follows && has_user_code(kind, ledger, guard->key_columns) && kind == &history_kind)
		report_protected_relation(ledger,
								  "cannot give history \"%s\", which runs code of its own, to the new owner of its table",
								  "Its triggers, defaults, constraints, indexes or statistics would run as the new owner. Drop them first.");
	if (follows && has_user_code(kind, ledger, guard->key_columns))
		report_protected_relation(ledger,
								  "cannot give ledger \"%s\", which runs code of its own, to the new owner of its table",
								  "Its triggers, defaults, constraints, indexes or statistics would run as the new owner. Drop them first.");
	relation_close(ledger, NoLock);
	if (!follows)
		return;
	ATExecChangeOwner(ledger_oid, owner, true, AccessExclusiveLock);
	CommandCounterIncrement();
}

/*
 * Judges what a guard that has been created names as its ledger or history: raises 42501
 * if that belongs to another role, whom it could only hinder, and PF006 if another table
 * uses it.
 */
static void
check_new_record(Relation relation, const KnownGuard *guard, const RecordKind *kind,
				 const Event *event)
{
	Oid			record = kind == &ledger_kind ? guard->ledger : guard->history;
	Relation	ledger;
	bool		is_on_shard;
	List	   *users = NIL;
	ListCell   *cell;

	if (!OidIsValid(record))
		return;
	(void) ledger_owner(kind, record, record_of_guard(guard->guard, kind),
						RelationGetRelid(relation), RelationGetRelationName(relation));
	if ((ledger = look_at_relation(record)) == NULL)
		return;
	is_on_shard = shard_suffix(guard->guard->name) != NULL;
	/* in a restore it is none yet, and no guard need be looked for */
	if (is_ledger(ledger))
		users = tables_using(ledger, RelationGetRelid(relation), event);
	foreach(cell, users)
	{
		const char *user = get_rel_name(lfirst_oid(cell));

		/* a shard has the ledger of its table */
		if (user == NULL ||
			(is_on_shard && is_name_or_on_shard(RelationGetRelationName(relation), user)))
			continue;
		if (kind == &history_kind)
			report_protected_relation(relation,
									  "cannot give relation \"%s\" the history of another one",
									  "Call govern, which creates a history for it.");
		report_protected_relation(relation,
								  "cannot give relation \"%s\" the ledger of another one",
								  "Call govern, which creates a ledger for it.");
	}
	RelationClose(ledger);
}

/*
 * Judges a guard that has been created: see check_new_record; and raises PF006 if it is
 * for the state column, the ledger or the history of another guard.
 */
static void
check_new_guard(Relation relation, const KnownGuard *guard, const Event *event)
{
	ListCell   *cell;

	foreach(cell, read_guards(relation))
	{
		const GuardTrigger *other = lfirst(cell);

		if (strcmp(other->name, guard->guard->name) != 0 &&
			(strcmp(other->state_column, guard->guard->state_column) == 0 ||
			 kind_for_guard(other, guard->guard->ledger) != NULL ||
			 (guard->guard->history != NULL && kind_for_guard(other, guard->guard->history) != NULL)))
			report_protected_relation(relation,
									  "cannot give a state column or a ledger of relation \"%s\" a second guard",
									  "Call govern, which creates a guard and a ledger for another state column.");
	}
	check_new_record(relation, guard, &ledger_kind, event);
	check_new_record(relation, guard, &history_kind, event);
}

/*
 * Returns whether a table, which the command did not name, has a problem that the
 * drop of something else does not leave.  Then it assigned no fates before.
 */
static bool
was_unsound_anyway(const List *problems)
{
	ListCell   *cell;

	foreach(cell, problems)
	{
		if (!(((Problem *) lfirst(cell))->traits & DROPPABLE))
			return true;
	}
	return false;
}

/*
 * Returns the problems of a governed table that a command may have made.  None but
 * CREATE TRIGGER gives a table that has a guard another one: a lifecycle that is new after
 * any other command is one that somebody else is just restoring.
 */
static List *
problems_after(Relation relation, const Before *before, const List *partitions, const Event *event)
{
	List	   *problems = NIL;
	ListCell   *cell;

	if (before == NULL || before->guards == NIL || IsA(event->command, CreateTrigStmt))
		return problems_for_ddl(relation, partitions, NULL);
	foreach(cell, before->guards)
		problems = list_concat(problems, problems_for_ddl(relation, partitions,
														  ((KnownGuard *) lfirst(cell))->guard->state_column));
	return problems;
}

/*
 * Refuses a command after which a governed table has a problem that it had not
 * before.  Of one that the command did not name, that is a problem which the
 * drop of something else leaves, or a new name, of a column of a type, if there
 * is no other: one that has another, has not got it now, and assigns no fates
 * anyway.
 */
static void
check_problems(Relation relation, const Before *before, const List *partitions,
			   bool creates_trigger, const Event *event)
{
	List	   *problems = problems_after(relation, before, partitions, event);
	bool		takes_away = IsA(event->command, RenameStmt);
	ListCell   *cell;

	if (event->watch == NULL || event->watch->dropped)
		takes_away = true;
	if (before == NULL && !creates_trigger && (!takes_away || was_unsound_anyway(problems)))
		return;
	foreach(cell, problems)
	{
		const Problem *problem = lfirst(cell);

		if (!(before != NULL && has_problem(before->problems, problem)) &&
			!(creates_trigger && problem->traits & PASSING))
			refuse_unsound(relation, problem, event);
	}
}

/*
 * Raises 55006 for a relation that has been governed after the command was noted, and before
 * it had its lock: what it was like when the command took it is not known.
 */
pg_noreturn static void
report_governed_meanwhile(Relation relation)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("relation \"%s\" has been governed while the command began",
					RelationGetRelationName(relation)),
			 errhint("Run the command again."),
			 errtable(relation)));
}

/*
 * Judges a governed table, the topmost one of a partitioned one, after a command
 * that named it, or touched it, or that partition of it or its ledger.  It may
 * not have got another ledger, or another guard.
 */
static void
judge_table(Oid relid, const List *touched_oids, const Event *event)
{
	const Before *before = find_before(relid, event);
	Relation	relation = look_at_relation(relid);
	bool		is_trigger = IsA(event->command, CreateTrigStmt);
	bool		creates_trigger = is_trigger && !((CreateTrigStmt *) event->command)->replace;
	List	   *guards;
	ListCell   *cell;

	if (relation == NULL)
		return;
	guards = known_guards(relation);
	if (before == NULL && guards != NIL && !is_trigger && event->watch != NULL &&
		list_member_oid(event->watch->ungoverned, relid))
		report_governed_meanwhile(relation);
	if (is_trigger)
	{
		foreach(cell, guards)
		{
			const KnownGuard *guard = lfirst(cell);

			if (before == NULL || guard_named(before->guards, guard->guard->name) == NULL)
				check_new_guard(relation, guard, event);
		}
	}
	if (before != NULL)
	{
		foreach(cell, before->guards)
		{
			const KnownGuard *former = lfirst(cell);
			const KnownGuard *guard = guard_named(guards, former->guard->name);

			if (guard == NULL || !is_same_guard(guard->guard, former->guard))
				report_protected_relation(relation,
										  "cannot alter the trigger that guards relation \"%s\"",
										  "Call extend_lifecycle to add states and transitions, or ungovern.");
			if (OidIsValid(former->ledger) && OidIsValid(guard->ledger) &&
				guard->ledger != former->ledger)
				report_protected_relation(relation,
										  "cannot give governed relation \"%s\" another ledger",
										  UNGOVERN_HINT);
			if (OidIsValid(former->history) && OidIsValid(guard->history) &&
				guard->history != former->history)
				report_protected_relation(relation,
										  "cannot give governed relation \"%s\" another history",
										  UNGOVERN_HINT);
			let_ledger_follow(relation, before, guard->guard, &ledger_kind, former->ledger, event);
			let_ledger_follow(relation, before, guard->guard, &history_kind, former->history, event);
		}
	}
	check_problems(relation, before, touched_oids, creates_trigger, event);
	RelationClose(relation);
}

/* ----------------------------------------------------------------------
 * Judging a relation that a command touched
 * ----------------------------------------------------------------------
 */

/*
 * Returns whether a trigger, if it calls one of our functions, has the name that
 * govern gives it; or the one that a shard has instead, not beside it.
 */
static bool
has_own_name(const Trigger *trigger, Relation relation)
{
	const char *name;
	const Trigger *found;

	if (is_own_function(trigger->tgfoid, "guard_fate"))
		return is_guard_of(trigger->tgname, trigger->tgnargs > 1 ? trigger->tgargs[1] : "",
						   RelationGetRelationName(relation));
	else if (is_own_function(trigger->tgfoid, "guard_truncate"))
		name = TRUNCATE_TRIGGER;
	else if (is_own_function(trigger->tgfoid, "guard_ledger"))
		name = TRIGGER_FOR_ROW(trigger->tgtype) ? LEDGER_TRIGGER : LEDGER_TRUNCATE_TRIGGER;
	else
		return true;
	found = find_trigger(relation, name);
	return found != NULL && strcmp(found->tgname, trigger->tgname) == 0;
}

/*
 * Refuses a trigger that calls one of our functions under another name.
 */
static void
check_trigger_names(Relation relation)
{
	/* a copy: the relation cache may rebuild its own at any catalog access */
	TriggerDesc *triggers = CopyTriggerDesc(relation->trigdesc);
	int			count = triggers ? triggers->numtriggers : 0;

	for (int i = 0; i < count; i++)
	{
		if (!has_own_name(&triggers->triggers[i], relation))
			report_protected_relation(relation,
									  "cannot give the trigger that guards relation \"%s\" another name",
									  "Triggers that call guard_fate, guard_truncate and guard_ledger are created by govern and keep their names.");
	}
}

/*
 * Returns whether a command is an ALTER TABLE with a subcommand of that kind, on
 * that column (NULL: on any).
 */
static bool
has_subcommand(Node *command, AlterTableType subtype, const char *column)
{
	ListCell   *cell;

	if (!IsA(command, AlterTableStmt))
		return false;
	foreach(cell, ((AlterTableStmt *) command)->cmds)
	{
		AlterTableCmd *subcommand = lfirst_node(AlterTableCmd, cell);

		if (subcommand->subtype == subtype &&
			(column == NULL || strcmp(subcommand->name, column) == 0))
			return true;
	}
	return false;
}

/*
 * Returns whether a command is an ALTER TABLE that writes other values into a
 * column (NULL: any): by giving it another type, which may come with any expression,
 * or by another expression of a generated one.
 */
static bool
rewrites_column(Node *command, const char *column)
{
	return has_subcommand(command, AT_AlterColumnType, column) ||
		has_subcommand(command, AT_SetExpression, column);
}

/*
 * Returns whether the USING of ALTER COLUMN ... TYPE, if it has one, says what is done
 * without it: it is the column, or the column cast to the type that the command
 * names, which some tools always add.
 */
static bool
uses_the_column(const AlterTableCmd *subcommand)
{
	const ColumnDef *definition = (const ColumnDef *) subcommand->def;
	Node	   *expression = definition->raw_default;

	if (expression == NULL)
		return true;
	if (IsA(expression, TypeCast) &&
		equal(((TypeCast *) expression)->typeName, definition->typeName))
		expression = ((TypeCast *) expression)->arg;
	return IsA(expression, ColumnRef) &&
		list_length(((ColumnRef *) expression)->fields) == 1 &&
		IsA(linitial(((ColumnRef *) expression)->fields), String) &&
		strcmp(strVal(linitial(((ColumnRef *) expression)->fields)), subcommand->name) == 0;
}

/*
 * Returns whether a command, an ALTER TABLE, leaves what a column of a guard holds as it
 * is: it has the type that it had, or is a varchar column of states or evidence
 * that has become longer, and no expression could have written something else.
 */
static bool
keeps_values(Relation relation, const GuardTrigger *guard, const char *name, const Event *event)
{
	const Before *before = find_before(governed_root(relation), event);
	const KnownGuard *former = before == NULL ? NULL : guard_named(before->guards, guard->name);
	const KnownColumn now = known_column(relation, name);
	ListCell   *cell;

	if (former == NULL)
		return false;
	foreach(cell, ((AlterTableStmt *) event->command)->cmds)
	{
		const AlterTableCmd *subcommand = lfirst_node(AlterTableCmd, cell);

		if (subcommand->name == NULL || strcmp(subcommand->name, name) != 0)
			continue;
		if (subcommand->subtype == AT_SetExpression ||
			(subcommand->subtype == AT_AlterColumnType && !uses_the_column(subcommand)))
			return false;
	}
	foreach(cell, former->columns)
	{
		const KnownColumn *known = lfirst(cell);

		if (strcmp(known->name, name) != 0)
			continue;
		if (known->type != now.type)
			return false;
		if (known->typmod == now.typmod && known->collation == now.collation)
			return true;
		/* the ledger's key has the modifier that the table's had */
		return now.type == VARCHAROID && !has_name(guard->key_columns, name) &&
			(now.typmod == -1 || (known->typmod != -1 && now.typmod >= known->typmod));
	}
	return false;
}

/*
 * Refuses to write other keys, states or evidence into the rows of a governed table, or
 * anything into those of a ledger, by an ALTER TABLE (or ALTER TYPE) on the
 * relation altered: this one, one that it is a partition of, or its type.
 */
static void
check_columns(Relation relation, Oid altered, const Event *event)
{
	Oid			type = relation->rd_rel->reloftype;
	ListCell   *cell;

	if (altered != RelationGetRelid(relation) &&
		!list_member_oid(partition_ancestors(RelationGetRelid(relation)), altered) &&
		!(OidIsValid(type) && get_typ_typrelid(type) == altered))
		return;
	foreach(cell, read_guards(relation))
	{
		const GuardTrigger *guard = lfirst(cell);
		ListCell   *column;

		foreach(column, list_concat_copy(guard->key_columns, judged_columns(guard)))
		{
			if (rewrites_column(event->command, lfirst(column)) &&
				!keeps_values(relation, guard, lfirst(column), event))
				report_protected_column(relation, lfirst(column),
										"cannot alter the type of a key, state or evidence column of governed relation \"%s\"",
										UNGOVERN_HINT);
		}
	}
	if (has_guard(relation) || !is_ledger(relation) ||
		tables_using(relation, InvalidOid, event) == NIL)
		return;
	if (record_kind(relation) == &history_kind)
		report_protected_relation(relation,
								  "cannot alter the type of a column of history \"%s\"",
								  UNGOVERN_HINT);
	report_protected_relation(relation,
							  "cannot alter the type of a column of ledger \"%s\"",
							  UNGOVERN_HINT);
}

/*
 * Judges a relation that was invalidated, if it was this transaction that changed
 * it, and adds the governed tables that it belongs to.  altered is what ALTER TABLE
 * has rewritten.
 */
static List *
judge_touched(List *tables, Oid relid, const List *altered, const Event *event)
{
	Relation	relation;
	ListCell   *cell;

	if (!may_concern_us(relid) || !is_locked_by_us(relid, CHANGING_LOCK) ||
		(relation = RelationIdGetRelation(relid)) == NULL)
		return tables;
	tables = list_concat_unique_oid(tables, governed_tables_of(relation, event));
	check_trigger_names(relation);
	foreach(cell, altered)
		check_columns(relation, lfirst_oid(cell), event);
	RelationClose(relation);
	return tables;
}

/*
 * Judges the rows of partitions that were attached to a governed table, as if
 * they were inserted there.  They are told by the lock that ATTACH takes on
 * them, and on no other but the default partition, whose rows it looks at again.
 */
static void
check_attached(const List *touched_oids, const Event *event)
{
	List	   *attached = NIL;
	ListCell   *cell;

	if (!has_subcommand(event->command, AT_AttachPartition, NULL))
		return;
	foreach(cell, touched_oids)
	{
		Relation	relation;

		if (!may_concern_us(lfirst_oid(cell)) || !get_rel_relispartition(lfirst_oid(cell)) ||
			!is_locked_by_us(lfirst_oid(cell), AccessExclusiveLock) ||
			(relation = RelationIdGetRelation(lfirst_oid(cell))) == NULL)
			continue;
		if (has_guard(relation))
			attached = lappend_oid(attached, lfirst_oid(cell));
		RelationClose(relation);
	}
	foreach(cell, attached)
	{
		List	   *ancestors = partition_ancestors(lfirst_oid(cell));

		/* a partition of one that was attached is looked at with that */
		if (list_length(list_difference_oid(ancestors, attached)) == list_length(ancestors))
		{
			Relation	partition = relation_open(lfirst_oid(cell), NoLock);

			take_over_partition(partition);
			relation_close(partition, NoLock);
		}
	}
}

/*
 * Returns whether a command can take something away that a guard asks for, from a relation
 * that it names; no restore has one of these.  A new name, or another schema, is not among
 * them: that may be how a ledger gets back to its place.
 */
static bool
may_weaken(Node *command)
{
	static const AlterTableType subtypes[] = {
		AT_DisableTrig, AT_DisableTrigAll, AT_DisableTrigUser, AT_EnableTrig, AT_EnableTrigAll,
		AT_EnableTrigUser, AT_EnableReplicaTrig, AT_DropConstraint, AT_DropColumn, AT_DropNotNull,
		AT_AlterColumnType
	};

	for (int i = 0; i < lengthof(subtypes); i++)
	{
		if (has_subcommand(command, subtypes[i], NULL))
			return true;
	}
	return IsA(command, RenameStmt) && ((RenameStmt *) command)->renameType == OBJECT_COLUMN;
}

/*
 * Raises 55006 if a relation that the command named, and that nothing governed then, has
 * become part of a governed table, or its ledger, before the command had its lock.
 */
static void
check_still_ungoverned(const Event *event)
{
	ListCell   *cell;

	if (event->watch == NULL || !may_weaken(event->command))
		return;
	foreach(cell, event->watch->ungoverned)
	{
		Relation	relation = may_concern_us(lfirst_oid(cell)) ? look_at_relation(lfirst_oid(cell)) : NULL;
		ListCell   *table;

		if (relation == NULL)
			continue;
		foreach(table, governed_tables_of(relation, event))
		{
			if (find_before(lfirst_oid(table), event) == NULL)
				report_governed_meanwhile(relation);
		}
		RelationClose(relation);
	}
}

/* ----------------------------------------------------------------------
 * What the server tells of a command
 * ----------------------------------------------------------------------
 */

/*
 * Executes a query on what the event trigger is about, by a plan that is made
 * at its first use and kept; connected to SPI.
 */
static void
query_event(const char *query, SPIPlanPtr *plan)
{
	int			result;

	if (*plan == NULL)
	{
		SPIPlanPtr	made = SPI_prepare(query, 0, NULL);

		if (made == NULL || SPI_keepplan(made) != 0)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		*plan = made;
	}
	result = SPI_execute_plan(*plan, NULL, NULL, true, 0);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
}

/*
 * Returns a value of a row of the result, which is 0 for a null.
 */
static Datum
result_value(uint64 row, int column)
{
	bool		isnull;

	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);
}

/*
 * Returns the OIDs of the relations, or of the types, that the command worked
 * on, as the server noted them: a name may mean another one by now, since the
 * command may have called a function that changed the search_path.
 */
static List *
altered_objects(Oid classid)
{
	static SPIPlanPtr plan = NULL;
	MemoryContext caller = CurrentMemoryContext;
	List	   *oids = NIL;

	SPI_connect();
	query_event("SELECT classid, objid FROM pg_catalog.pg_event_trigger_ddl_commands()", &plan);
	MemoryContextSwitchTo(caller);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		if (DatumGetObjectId(result_value(i, 1)) == classid)
			oids = lappend_oid(oids, DatumGetObjectId(result_value(i, 2)));
	}
	SPI_finish();
	return oids;
}

/* ----------------------------------------------------------------------
 * Types
 * ----------------------------------------------------------------------
 */

/*
 * Refuses to change a type by which rows are told apart, or their states are, or on
 * which decisions rest: that of a column that governs a table.  Of a table whose guard is not in
 * order, which a stranger may have made so, nothing is kept anyway.
 */
static void
check_type_column(Oid relid, AttrNumber attno, bool is_label)
{
	char	   *column = get_attname(relid, attno, true);
	StringInfoData detail;
	ListCell   *cell;

	if (column == NULL)
		return;
	foreach(cell, read_guard_names(relid))
	{
		const GuardTrigger *guard = lfirst(cell);
		Oid			ledger = get_relname_relid(guard->ledger, get_rel_namespace(relid));

		if (!OidIsValid(ledger) || relation_owner(ledger) != relation_owner(relid) ||
			!(has_name(guard->key_columns, column) ||
			  has_name(evidence_columns(guard->options), column) ||
			  (is_label && strcmp(column, guard->state_column) == 0)))
			continue;
		detail_begin(&detail);
		detail_text(&detail, "relation",
					quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
											   get_rel_name(relid)));
		detail_text(&detail, "column", column);
		ereport(ERROR,
				(errcode(ERRCODE_FATE_PROTECTED),
				 is_label ?
				 errmsg("cannot rename a value of an enum that governed relation \"%s\" has its keys, states or evidence in",
						get_rel_name(relid)) :
				 errmsg("cannot alter a type that governed relation \"%s\" has its keys or evidence in",
						get_rel_name(relid)),
				 errdetail_internal("%s", detail_end(&detail)),
				 errhint("%s", strcmp(column, guard->state_column) != 0 ? UNGOVERN_HINT :
						 "Add a value, and extend the lifecycle, instead.")));
	}
}

/*
 * Looks for the columns of a type, or of one that is made of it (a domain, an
 * array, a range, a composite type), that govern a table.  Everything that uses
 * the type depends on it.  Where a column of a row type has come, gone or changed,
 * keys of that type would be told apart by other values.  InvalidOid is no type; one of
 * the types seen is not looked at again: there may be very many ways to it.
 */
static void
check_type_users_but(Oid type, bool is_label, List **seen)
{
	Relation	depend;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	check_stack_depth();
	if (!OidIsValid(type) || list_member_oid(*seen, type))
		return;
	*seen = lappend_oid(*seen, type);
	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(TypeRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(type));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		CHECK_FOR_INTERRUPTS();
		if (form->classid == TypeRelationId)
			check_type_users_but(form->objid, is_label, seen);
		else if (form->classid == RelationRelationId && form->objsubid > 0)
		{
			check_type_column(form->objid, form->objsubid, is_label);
			check_type_users_but(get_rel_type_id(form->objid), is_label, seen);
		}
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
}

static void
check_type_users(Oid type, bool is_label)
{
	List	   *seen = NIL;

	check_type_users_but(type, is_label, &seen);
}

/*
 * Judges a command on a type: one that renames a label of an enum, gives a view more
 * columns, or changes those of relations, which were touched.
 */
static void
check_types(const List *touched_oids, const Event *event)
{
	ListCell   *cell;

	if (IsA(event->command, AlterEnumStmt) && ((AlterEnumStmt *) event->command)->oldVal != NULL)
	{
		foreach(cell, altered_objects(TypeRelationId))
			check_type_users(lfirst_oid(cell), true);
	}
	if (event->watch != NULL && OidIsValid(event->watch->view) &&
		count_columns(event->watch->view) != event->watch->view_columns)
		check_type_users(get_rel_type_id(event->watch->view), false);
	if (!has_subcommand(event->command, AT_AddColumn, NULL) &&
		!has_subcommand(event->command, AT_DropColumn, NULL) &&
		!has_subcommand(event->command, AT_AlterColumnType, NULL))
		return;
	foreach(cell, touched_oids)
	{
		if (is_locked_by_us(lfirst_oid(cell), CHANGING_LOCK))
			check_type_users(get_rel_type_id(lfirst_oid(cell)), false);
	}
}

/* ----------------------------------------------------------------------
 * ddl_command_end
 * ----------------------------------------------------------------------
 */

/*
 * guard_ddl(): at the end of each DDL command, judges the tables that it
 * touched or named.
 */
Datum
guard_ddl(PG_FUNCTION_ARGS)
{
	Event		event;
	bool		judge = begin_event(fcinfo, "guard_ddl", "ddl_command_end", &event);
	List	   *befores = event.watch != NULL ? event.watch->befores : NIL;
	List	   *tables = NIL;
	List	   *relids = NIL;
	List	   *altered = NIL;
	ListCell   *cell;

	if (judge && touched_lost)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not remember what the command has touched")));
	/* a copy: to look at a relation may bring more to an outer command's */
	sort_touched();
	for (int i = 0; i < ntouched; i++)
		relids = lappend_oid(relids, touched[i]);
	set_watch(watch != NULL ? watch->outer : NULL);
	if (!judge)
		return PointerGetDatum(NULL);

	foreach(cell, befores)
	{
		const Before *before = lfirst(cell);

		if (before->counts)
			tables = lappend_oid(tables, before->relid);
	}
	if (rewrites_column(event.command, NULL))
		altered = altered_objects(RelationRelationId);
	foreach(cell, relids)
		tables = judge_touched(tables, lfirst_oid(cell), altered, &event);
	foreach(cell, tables)
		judge_table(lfirst_oid(cell), relids, &event);
	check_still_ungoverned(&event);
	check_types(relids, &event);
	check_attached(relids, &event);
	return PointerGetDatum(NULL);
}

/* ----------------------------------------------------------------------
 * sql_drop
 * ----------------------------------------------------------------------
 */

/*
 * Returns the row of a catalog that has that OID, in the column of that number and by that
 * index, as it was before the command; NULL if there was none.
 */
static HeapTuple
former_row(Oid catalog_oid, Oid index, AttrNumber column, Oid oid)
{
	Relation	catalog = table_open(catalog_oid, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;

	/*
	 * What others have committed meanwhile, as the command finds it, and of
	 * this transaction what was there when the command began
	 */
	snapshot->curcid = GetActiveSnapshot()->curcid;
	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(oid));
	scan = systable_beginscan(catalog, index, true, snapshot, 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		row = heap_copytuple(row);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(catalog, AccessShareLock);
	return row;
}

/*
 * Returns whether a function that a trigger called, and that may have gone with it, is
 * ours of that symbol, or was one in C, which only a superuser can create.
 */
static bool
was_own_function(Oid function, const char *symbol)
{
	HeapTuple	row;

	if (SearchSysCacheExists1(PROCOID, ObjectIdGetDatum(function)))
		return is_own_function(function, symbol);
	row = former_row(ProcedureRelationId, ProcedureOidIndexId, Anum_pg_proc_oid, function);
	return HeapTupleIsValid(row) && ((Form_pg_proc) GETSTRUCT(row))->prolang == ClanguageId;
}

/*
 * Returns the tables that have guards, which are read once for all that is dropped.
 */
static List *
guarded_tables(Event *event)
{
	ListCell   *cell;

	if (event->has_guarded)
		return event->guarded;
	event->has_guarded = true;
	foreach(cell, tables_with_guards(own_function(get_namespace_name(get_func_namespace(event->function)),
												  "guard_fate")))
	{
		Guarded    *table = palloc(sizeof(Guarded));

		table->relid = lfirst_oid(cell);
		table->namespace = get_rel_namespace(table->relid);
		table->guards = read_guard_names(table->relid);
		event->guarded = lappend(event->guarded, table);
	}
	return event->guarded;
}

/*
 * Returns whether a table's guards name a ledger or history of a namespace.
 */
static bool
names_record(const Guarded *table, Oid namespace, const char *record)
{
	ListCell   *cell;

	if (table->namespace != namespace)
		return false;
	foreach(cell, table->guards)
	{
		if (kind_for_guard(lfirst(cell), record) != NULL)
			return true;
	}
	return false;
}

/*
 * Refuses the drop of a ledger or history with which its guards went, while a table stays
 * that uses it.  One that the command named is judged when that has ended.
 */
static void
check_lost_record(Oid relid, Event *event)
{
	HeapTuple	row = former_row(RelationRelationId, ClassOidIndexId, Anum_pg_class_oid, relid);
	Form_pg_class record;
	ListCell   *cell;

	/* the tables that use one that the command named are noted */
	if (!HeapTupleIsValid(row) ||
		(event->watch != NULL && list_member_oid(event->watch->ungoverned, relid)))
		return;
	record = (Form_pg_class) GETSTRUCT(row);
	/* its table went with the schema that both were in */
	if (get_namespace_name(record->relnamespace) == NULL)
		return;
	foreach(cell, guarded_tables(event))
	{
		const Guarded *table = lfirst(cell);
		Relation	relation;

		if (!names_record(table, record->relnamespace, NameStr(record->relname)) ||
			find_before(table->relid, event) != NULL ||
			!uses_ledger_of(table->relid, record->relowner) ||
			(relation = look_at_relation(table->relid)) == NULL)
			continue;
		report_protected_relation(relation,
								  "cannot drop the ledger or history of governed relation \"%s\"",
								  "Drop the table with it, or call ungovern first.");
	}
}

/*
 * Refuses the drop of one of our triggers while its table stays; a ledger's
 * may go once no table uses it.  What it called tells whether it was ours: of a stranger's
 * trigger the name alone may be.  If a ledger is gone with its trigger, see
 * check_lost_record.
 */
static void
check_lost_trigger(Oid oid, const char *schema, const char *table, const char *trigger, Event *event)
{
	HeapTuple	row = former_row(TriggerRelationId, TriggerOidIndexId, Anum_pg_trigger_oid, oid);
	Form_pg_trigger former = HeapTupleIsValid(row) ? (Form_pg_trigger) GETSTRUCT(row) : NULL;
	Oid			relid = get_relname_relid(table, get_namespace_oid(schema, true));
	Relation	relation = OidIsValid(relid) ? try_relation_open(relid, AccessShareLock) : NULL;
	bool		is_ledgers;

	if (relation == NULL)
	{
		if (former != NULL && is_trigger_name(trigger, LEDGER_TRIGGER, table) &&
			was_own_function(former->tgfoid, "guard_ledger"))
			check_lost_record(former->tgrelid, event);
		return;
	}
	if ((has_guard_name(trigger) || is_trigger_name(trigger, TRUNCATE_TRIGGER, table)) &&
		(former == NULL || was_own_function(former->tgfoid, "guard_fate") ||
		 was_own_function(former->tgfoid, "guard_truncate")))
		report_protected_relation(relation,
								  "cannot drop the trigger that guards relation \"%s\"",
								  "Call ungovern.");
	is_ledgers = is_trigger_name(trigger, LEDGER_TRIGGER, table) ||
		is_trigger_name(trigger, LEDGER_TRUNCATE_TRIGGER, table);
	if (is_ledgers && tables_using(relation, InvalidOid, event) != NIL &&
		record_kind(relation) == &history_kind)
		report_protected_relation(relation,
								  "cannot drop the trigger that guards history \"%s\"",
								  "It stays while a table uses the history.");
	if (is_ledgers && tables_using(relation, InvalidOid, event) != NIL)
		report_protected_relation(relation,
								  "cannot drop the trigger that guards ledger \"%s\"",
								  "It stays while a table uses the ledger.");
	relation_close(relation, AccessShareLock);
}

/*
 * Returns whether what is dropped from a governed table by CASCADE matters no more,
 * since the table assigned no fates before.  Otherwise, whoever makes a table with
 * a guard and no ledger could keep others from dropping their types.
 */
static bool
is_unsound_bystander(Relation relation, const Event *event)
{
	Oid			root_oid;
	Relation	root;
	bool		unsound;

	if (!has_guard(relation))
		return false;
	root_oid = governed_root(relation);
	if (find_before(root_oid, event) != NULL || (root = look_at_relation(root_oid)) == NULL)
		return false;
	unsound = was_unsound_anyway(problems_for_ddl(root, NIL, NULL));
	RelationClose(root);
	return unsound;
}

/*
 * Refuses the drop of a column of a ledger or history that the guard of a table names as
 * that.
 */
static void
check_lost_record_column(Relation record, const GuardTrigger *guard, const char *column)
{
	const RecordKind *kind = kind_for_guard(guard, RelationGetRelationName(record));

	if (kind == NULL || !(is_record_column(kind, column) ||
						  has_name(record_key_names(guard->key_columns), column)))
		return;
	if (kind == &history_kind)
		report_protected_column(record, column, "cannot drop a column of history \"%s\"", UNGOVERN_HINT);
	report_protected_column(record, column, "cannot drop a column of ledger \"%s\"", UNGOVERN_HINT);
}

/*
 * Refuses the drop of a column that governs, or of one of a ledger's, of a table
 * that may be gone too.  Its name tells: the same command may have added a column
 * of that name anew.
 */
static void
check_lost_column(Oid relid, const char *column, const Event *event)
{
	Relation	relation;
	List	   *users = NIL;
	ListCell   *cell;

	check_type_users(get_rel_type_id(relid), false);
	if (!may_concern_us(relid) || (relation = try_relation_open(relid, AccessShareLock)) == NULL)
		return;
	if (!is_unsound_bystander(relation, event))
	{
		foreach(cell, read_guards(relation))
		{
			const GuardTrigger *guard = lfirst(cell);

			if (has_name(guard->key_columns, column) || has_name(judged_columns(guard), column))
				report_protected_column(relation, column,
										"cannot drop a key, state or evidence column of governed relation \"%s\"",
										UNGOVERN_HINT);
		}
		if (is_ledger(relation))
			users = tables_using(relation, InvalidOid, event);
		foreach(cell, users)
		{
			ListCell   *guard;

			foreach(guard, read_guard_names(lfirst_oid(cell)))
				check_lost_record_column(relation, lfirst(guard), column);
		}
	}
	relation_close(relation, AccessShareLock);
}

/*
 * Checks what was dropped, as a row of the result tells, if that is a column or
 * a trigger of one of our names.
 */
static void
check_dropped(uint64 row, Event *event)
{
	char	   *type = TextDatumGetCString(result_value(row, 2));
	bool		is_trigger = strcmp(type, "trigger") == 0;
	Datum		address = result_value(row, 3);
	Datum	   *names;
	int			count;
	char	   *texts[3];		/* schema, relation, and its own name */

	if ((!is_trigger && !pg_str_endswith(type, " column")) || DatumGetPointer(address) == NULL)
		return;
	deconstruct_array(DatumGetArrayTypeP(address), TEXTOID, -1, false, TYPALIGN_INT,
					  &names, NULL, &count);
	if (count != lengthof(texts))
		return;
	for (int i = 0; i < count; i++)
		texts[i] = TextDatumGetCString(names[i]);
	if (!is_trigger)
		check_lost_column(DatumGetObjectId(result_value(row, 1)), texts[2], event);
	else if (strncmp(texts[2], "petition_cas_", strlen("petition_cas_")) == 0)
		check_lost_trigger(DatumGetObjectId(result_value(row, 1)), texts[0], texts[1], texts[2], event);
}

/*
 * guard_drop(): after each command that drops something, checks what it
 * dropped.  What went with its whole table is gone from the catalogs by now
 * and hinders nothing.
 *
 * The query has no conditions: to prepare them for each drop costs more than to
 * look at its rows.
 */
Datum
guard_drop(PG_FUNCTION_ARGS)
{
	static SPIPlanPtr plan = NULL;
	Event		event = {0};

	if (!begin_event(fcinfo, "guard_drop", "sql_drop", &event))
		return PointerGetDatum(NULL);
	if (event.watch != NULL)
		event.watch->dropped = true;

	/*
	 * A trigger or a column is part of a relation, which was touched if it
	 * was dropped.  Many drops touch none.
	 */
	if (event.watch != NULL && !touched_lost && ntouched == 0)
		return PointerGetDatum(NULL);
	SPI_connect();
	query_event("SELECT objid, object_type, address_names"
				" FROM pg_catalog.pg_event_trigger_dropped_objects()", &plan);
	for (uint64 i = 0; i < SPI_processed; i++)
		check_dropped(i, &event);
	SPI_finish();
	return PointerGetDatum(NULL);
}
