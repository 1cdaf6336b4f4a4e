/*-------------------------------------------------------------------------
 *
 * shard.c
 *	  Tables that Citus has distributed: the names of their shards, and whether a
 *	  table is one.
 *
 * A shard is a table of its own on some node.  Its name, and those of its triggers,
 * indexes and constraints, are the ones of the distributed table with the number
 * of the shard behind them: orders_102008, petition_cas_guard_102008.  A name that
 * would become too long is clipped and has a hash between; see AppendShardIdToName
 * in Citus.  A table that just happens to be called so has no trigger of ours, or
 * one of the exact name, which is always looked for first.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_namespace.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "shard.h"

/*
 * Returns what stands behind the name of a distributed table in the name of a
 * shard, "_102008"; NULL for a name that no shard has.
 */
const char *
shard_suffix(const char *name)
{
	const char *suffix = strrchr(name, '_');

	if (suffix == NULL || suffix == name || suffix[1] < '1' || suffix[1] > '9' ||
		suffix[1 + strspn(suffix + 1, "0123456789")] != '\0')
		return NULL;
	return suffix;
}

/*
 * Returns how a name is changed on the shard that has that suffix.
 */
char *
shard_name(const char *name, const char *suffix)
{
	int			length = strlen(name);
	int			available = NAMEDATALEN - strlen(suffix);

	if (length < available)
		return psprintf("%s%s", name, suffix);
	return psprintf("%.*s_%.8x%s", pg_mbcliplen(name, length, available - 10), name,
					hash_bytes((const unsigned char *) name, length), suffix);
}

/*
 * Returns whether a name is another one, or that as it is on any shard.
 */
bool
is_name_or_on_shard(const char *found, const char *name)
{
	const char *suffix = shard_suffix(found);

	return strcmp(found, name) == 0 ||
		(suffix != NULL && strcmp(found, shard_name(name, suffix)) == 0);
}

/*
 * Returns the table, by its OID, that a row of a catalog of Citus is about: the one
 * that has a value in that column, found by an index.  InvalidOid: there is none, or
 * no Citus.
 */
static Oid
look_up_distributed(const char *catalog_name, const char *index_name, AttrNumber column,
					Oid equality, Datum value)
{
	Oid			catalog_oid = get_relname_relid(catalog_name, PG_CATALOG_NAMESPACE);
	Oid			index = get_relname_relid(index_name, PG_CATALOG_NAMESPACE);
	Oid			relid = InvalidOid;
	Relation	catalog;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;

	if (!OidIsValid(catalog_oid) || !OidIsValid(index))
		return InvalidOid;
	catalog = table_open(catalog_oid, AccessShareLock);
	ScanKeyInit(&key, column, BTEqualStrategyNumber, equality, value);
	scan = systable_beginscan(catalog, index, true, NULL, 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
	{
		bool		isnull;

		/* the table is the first column of both catalogs */
		relid = DatumGetObjectId(heap_getattr(row, 1, RelationGetDescr(catalog), &isnull));
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return relid;
}

/*
 * Returns whether this database has Citus.
 */
bool
has_citus(void)
{
	return OidIsValid(get_relname_relid("pg_dist_partition", PG_CATALOG_NAMESPACE));
}

/*
 * Returns whether Citus has distributed a table.
 */
bool
is_distributed(Oid relid)
{
	return OidIsValid(look_up_distributed("pg_dist_partition",
										  "pg_dist_partition_logical_relid_index", 1, F_OIDEQ,
										  ObjectIdGetDatum(relid)));
}

/*
 * Returns whether a table is a shard of another one.
 */
bool
is_shard(Oid relid)
{
	const char *name = get_rel_name(relid);
	const char *suffix = name == NULL ? NULL : shard_suffix(name);
	Oid			whole = InvalidOid;

	if (suffix != NULL)
		whole = look_up_distributed("pg_dist_shard", "pg_dist_shard_shardid_index", 2, F_INT8EQ,
									Int64GetDatum(strtoll(suffix + 1, NULL, 10)));
	return OidIsValid(whole) && get_rel_name(whole) != NULL &&
		strcmp(name, shard_name(get_rel_name(whole), suffix)) == 0;
}
