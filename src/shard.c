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
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
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
 * Returns a column of the row of a catalog of Citus that has that value in another
 * one, found by an index.  0: there is none, or no Citus.
 */
static Datum
look_up_citus(const char *catalog_name, const char *index_name, AttrNumber column,
			  Oid equality, Datum value, AttrNumber wanted)
{
	Oid			catalog_oid = get_relname_relid(catalog_name, PG_CATALOG_NAMESPACE);
	Oid			index = get_relname_relid(index_name, PG_CATALOG_NAMESPACE);
	Datum		found = (Datum) 0;
	Relation	catalog;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;

	if (!OidIsValid(catalog_oid) || !OidIsValid(index))
		return found;
	catalog = table_open(catalog_oid, AccessShareLock);
	ScanKeyInit(&key, column, BTEqualStrategyNumber, equality, value);
	scan = systable_beginscan(catalog, index, true, NULL, 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
	{
		bool		isnull;

		found = heap_getattr(row, wanted, RelationGetDescr(catalog), &isnull);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

/*
 * Returns whether this database has Citus.
 */
bool
has_citus(void)
{
	return OidIsValid(get_relname_relid("pg_dist_partition", PG_CATALOG_NAMESPACE));
}

/* Columns of pg_dist_partition and pg_dist_shard that Citus has always had there */
#define PARTITION_RELID 1
#define PARTITION_COLOCATION 4
#define SHARD_RELID 1
#define SHARD_NUMBER 2

/*
 * Returns whether Citus has distributed a table.  One that it merely knows of, and
 * leaves on the coordinator as a whole, has no group that it is colocated with.
 */
bool
is_distributed(Oid relid)
{
	return DatumGetInt32(look_up_citus("pg_dist_partition", "pg_dist_partition_logical_relid_index",
									   PARTITION_RELID, F_OIDEQ, ObjectIdGetDatum(relid),
									   PARTITION_COLOCATION)) > 0;
}

/*
 * Returns the number that a suffix says.
 */
static Datum
shard_number(const char *suffix)
{
	return Int64GetDatum(strtoll(suffix + 1, NULL, 10));
}

/*
 * Returns the distributed table that a table is a shard of, or InvalidOid.
 */
Oid
table_of_shard(Oid relid)
{
	const char *name = get_rel_name(relid);
	const char *suffix = name == NULL ? NULL : shard_suffix(name);
	Oid			whole = InvalidOid;

	if (suffix != NULL)
		whole = DatumGetObjectId(look_up_citus("pg_dist_shard", "pg_dist_shard_shardid_index",
											   SHARD_NUMBER, F_INT8EQ, shard_number(suffix),
											   SHARD_RELID));
	return OidIsValid(whole) && get_rel_name(whole) != NULL &&
		get_rel_namespace(whole) == get_rel_namespace(relid) &&
		strcmp(name, shard_name(get_rel_name(whole), suffix)) == 0 ? whole : InvalidOid;
}

/*
 * Returns whether a table is a shard of another one.
 */
bool
is_shard(Oid relid)
{
	return OidIsValid(table_of_shard(relid));
}

/*
 * Returns the shard of a distributed table that has the same rows' keys as a shard
 * of another table and is on this node, or InvalidOid.  Connected to SPI.
 */
Oid
shard_beside(Oid shard, Oid table)
{
	Oid			types[] = {OIDOID, INT8OID};
	Datum		values[] = {
		ObjectIdGetDatum(table), shard_number(shard_suffix(get_rel_name(shard)))
	};
	const char *number;

	if (SPI_execute_with_args("SELECT b.shardid FROM pg_catalog.pg_dist_shard a, pg_catalog.pg_dist_shard b"
							  " WHERE a.shardid OPERATOR(pg_catalog.=) $2"
							  " AND b.logicalrelid OPERATOR(pg_catalog.=) $1"
							  " AND a.shardminvalue IS NOT DISTINCT FROM b.shardminvalue",
							  2, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for a shard");
	if (SPI_processed == 0)
		return InvalidOid;
	number = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	return get_relname_relid(shard_name(get_rel_name(table), psprintf("_%s", number)),
							 get_rel_namespace(table));
}
