/*-------------------------------------------------------------------------
 *
 * shard.h
 *	  Tables that Citus has distributed: the names of their shards, and whether a
 *	  table is one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_SHARD_H
#define PETITION_CAS_SHARD_H

#include "postgres.h"

extern const char *shard_suffix(const char *name);
extern char *shard_name(const char *name, const char *suffix);
extern bool is_name_or_on_shard(const char *found, const char *name);
extern bool has_citus(void);
extern bool is_distributed(Oid relid);
extern Oid	table_of_shard(Oid relid);
extern bool is_shard(Oid relid);
extern Oid	shard_beside(Oid shard, Oid table);

#endif							/* PETITION_CAS_SHARD_H */
