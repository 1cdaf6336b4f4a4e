/*-------------------------------------------------------------------------
 *
 * soundness.h
 *	  What a sound governed table and a sound ledger are.
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
	Oid			about;			/* of the relation that has it */
	int			sqlerrcode;		/* with which govern refuses it */
	const char *hint;			/* what govern advises, or NULL */
	bool		imprudent;		/* it is told, and stops nobody */
	bool		passing;		/* a restore leaves it so between commands */
	bool		droppable;		/* a drop of something else may leave it */
	const char *refusal;		/* how DDL that leaves it is refused, or NULL */
	const char *refusal_hint;
} Problem;

/* What is advised where something has to stay as long as a table is governed */
#define UNGOVERN_HINT \
	"Call ungovern, alter the table and its ledger, and govern again."

extern bool has_key_index(Relation relation, const char *column, Oid except);

extern List *table_problems(Relation relation, const GuardTrigger *guard);
extern List *ledger_problems(Relation ledger, Relation relation, const char *key_column);
extern List *governed_problems(Relation relation);
extern List *problems_for_ddl(Relation relation, const List *partitions);
extern List *imprudences(Relation relation);
extern Relation look_at_relation(Oid relid);
extern bool has_user_code(Relation ledger);

extern void check_partitions(Governed *governed, Relation relation);
extern void check_readable(Governed *governed, Relation relation);
extern bool is_sound(Governed *governed, Relation relation);
extern Oid	check_sound(Governed *governed, Relation relation);

#endif							/* PETITION_CAS_SOUNDNESS_H */
