/*-------------------------------------------------------------------------
 *
 * uuidkeys.h
 *	  Arrays of uuids as pairs of machine words: load, parse, print, sort.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_UUIDKEYS_H
#define PETITION_CAS_UUIDKEYS_H

#include "postgres.h"

#include "port/pg_bswap.h"

/* The length of a uuid's text form. */
#define UUID_TEXT_LENGTH	36

/*
 * A uuid in host byte order.  Comparing high, then low, is comparing the
 * bytes, and also the text forms, whose hyphens stand in fixed places.
 */
typedef struct UuidKey
{
	uint64		high;
	uint64		low;
} UuidKey;

/*
 * Loads a uuid from its 16 bytes, which need not be aligned.
 */
static inline void
uuidkey_load(UuidKey *key, const void *bytes)
{
	uint64		words[2];

	memcpy(words, bytes, sizeof(words));
	key->high = pg_ntoh64(words[0]);
	key->low = pg_ntoh64(words[1]);
}

/*
 * Compares two uuids as their text forms compare.
 */
static inline int
uuidkey_compare(const UuidKey *a, const UuidKey *b)
{
	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	if (a->low != b->low)
		return a->low < b->low ? -1 : 1;
	return 0;
}

extern bool uuidkey_parse(UuidKey *key, const char *text, int length);
extern void uuidkey_print(const UuidKey *key, char *out);
extern void uuidkeys_sort(UuidKey *keys, Size count);
extern Size uuidkeys_distinct(UuidKey *keys, Size count);

#endif							/* PETITION_CAS_UUIDKEYS_H */
