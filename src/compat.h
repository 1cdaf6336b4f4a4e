/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  What differs between the versions of PostgreSQL, and nothing else.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_COMPAT_H
#define PETITION_CAS_COMPAT_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "utils/acl.h"

#if PG_VERSION_NUM < 150000
#error "petition_cas needs PostgreSQL 15 or later"
#endif

/* 16 moved the macros on varlena values out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 18 has this word, which must come first; before, there was only an attribute. */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

/*
 * The library is built with -fvisibility=hidden, and from 16 on these show what
 * the server looks up in it.  Here they are with what 15 leaves out.
 */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))

#undef PG_FUNCTION_INFO_V1
#define PG_FUNCTION_INFO_V1(funcname) \
extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS); \
extern PGDLLEXPORT const Pg_finfo_record * CppConcat(pg_finfo_,funcname)(void); \
const Pg_finfo_record * \
CppConcat(pg_finfo_,funcname) (void) \
{ \
	static const Pg_finfo_record my_finfo = { 1 }; \
	return &my_finfo; \
} \
extern int no_such_variable

extern PGDLLEXPORT void _PG_init(void);
#endif

/* 16 replaced the ownership and privilege checks of each catalog by one each. */
#if PG_VERSION_NUM < 160000
#define object_ownercheck(classid, objectid, roleid) \
	(AssertMacro((classid) == RelationRelationId), pg_class_ownercheck(objectid, roleid))
#define object_aclcheck(classid, objectid, roleid, mode) \
	((classid) == ProcedureRelationId ? pg_proc_aclcheck(objectid, roleid, mode) : \
	 (AssertMacro((classid) == NamespaceRelationId), pg_namespace_aclcheck(objectid, roleid, mode)))
#endif

/* 16 can leave out all indexes but those that summarize. */
#if PG_VERSION_NUM >= 160000
#define insert_index_tuples(target, row, estate) \
	ExecInsertIndexTuples(target, row, estate, false, false, NULL, NIL, false)
#else
#define insert_index_tuples(target, row, estate) \
	ExecInsertIndexTuples(target, row, estate, false, false, NULL, NIL)
#endif

/* 16 calls a relation's file by another name. */
#if PG_VERSION_NUM < 160000
#define rd_newRelfilelocatorSubid rd_newRelfilenodeSubid
#endif

/* 17 asks whether a stronger lock counts too. */
#if PG_VERSION_NUM >= 170000
#define holds_lock(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define holds_lock(tag, mode) LockHeldByMe(tag, mode)
#endif

/* 17 brought the privilege MAINTAIN, and a setting that switches event triggers off. */
#if PG_VERSION_NUM < 170000
#define ACL_MAINTAIN ACL_NO_RIGHTS
#define event_triggers true
#endif

/* 17 finds shared memory by a name, so that a library need not be preloaded for it. */
#if PG_VERSION_NUM >= 170000
#include "storage/dsm_registry.h"
#define HAS_NAMED_MEMORY 1
#endif

/* 17 can give a generated column another expression. */
#if PG_VERSION_NUM < 170000
#define AT_SetExpression ((AlterTableType) -1)
#endif

/* 18 can compute a generated column whenever it is read. */
#if PG_VERSION_NUM < 180000
#define ATTRIBUTE_GENERATED_VIRTUAL 'v'
#endif

/* 18 asks whether a deferrable primary key counts too; before, none did. */
#if PG_VERSION_NUM >= 180000
#define primary_key_index(relation) RelationGetPrimaryKeyIndex(relation, false)
#else
#define primary_key_index(relation) RelationGetPrimaryKeyIndex(relation)
#endif

/*
 * Whether a column of a relation's descriptor is declared not null.  From 18 on
 * such a constraint may not have been validated.
 */
#if PG_VERSION_NUM >= 180000
#define column_is_not_null(desc, attno) \
	(TupleDescCompactAttr(desc, (attno) - 1)->attnullability == ATTNULLABLE_VALID)
#else
#define column_is_not_null(desc, attno) \
	(TupleDescAttr(desc, (attno) - 1)->attnotnull)
#endif

#endif							/* PETITION_CAS_COMPAT_H */
