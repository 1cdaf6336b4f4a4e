/*-------------------------------------------------------------------------
 *
 * soundness.h
 *	  What a sound governed table, a sound ledger and a sound history are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_SOUNDNESS_H
#define PETITION_CAS_SOUNDNESS_H

#include "postgres.h"

#include "governed.h"

/* Something that is not as it should be with a table or its ledger */
typedef struct Problem
{
	char	   *text;			/* as verify_fates tells it */
	Oid			about;			/* the relation that has it */
	int			sqlerrcode;		/* with which govern refuses it */
	int			traits;			/* bits, below */
	const char *hint;			/* what govern advises, or NULL */
} Problem;

/* What is particular to a problem, for those who judge DDL */
#define PASSING				0x01	/* a restore leaves it so between commands */
#define DROPPABLE			0x02	/* a drop of something else may leave it */
#define ALTERABLE			0x04	/* table and ledger can be altered alike,
									 * while the table is not governed */
#define OTHER_TRIGGER		0x08	/* one of our triggers is another one, */
#define DISABLED_TRIGGER	0x10	/* or does not fire always */

extern List *default_key(Relation relation);
extern bool has_key_index(Relation relation, const List *columns, Oid except);

extern List *table_problems(Relation relation, const GuardTrigger *guard);
extern List *record_problems(const RecordKind *kind, Relation record, Relation relation,
							 List *key_columns);
extern bool has_problem(const List *problems, const Problem *problem);
extern List *governed_problems(Relation relation, const char *state_column);
extern List *problems_for_ddl(Relation relation, const List *partitions,
							  const char *state_column);
extern List *imprudences(Relation relation, const char *state_column, bool unlocked);
extern Relation look_at_relation(Oid relid);
extern bool has_user_code(const RecordKind *kind, Relation record, const List *key_columns);

extern void check_partitions(Governed *governed, Relation relation);
extern void check_readable(Governed *governed, Relation relation);
extern bool is_sound(Governed *governed, Relation relation);
extern Oid	check_sound(Governed *governed, Relation relation);

#endif							/* PETITION_CAS_SOUNDNESS_H */
