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

/*
 * Returns the eight hexadecimal digits of a number, as bytes in memory order:
 * each half byte is spread to a byte, and letters get what is between the
 * digits and them.
 */
static inline uint64
uuidkey_digits(uint32 number)
{
	uint64		digits = number;
	uint64		letters;

	digits = (digits | (digits << 16)) & UINT64CONST(0x0000ffff0000ffff);
	digits = (digits | (digits << 8)) & UINT64CONST(0x00ff00ff00ff00ff);
	digits = (digits | (digits << 4)) & UINT64CONST(0x0f0f0f0f0f0f0f0f);
	letters = ((digits + UINT64CONST(0x0606060606060606)) >> 4) & UINT64CONST(0x0101010101010101);
	return pg_hton64(digits + UINT64CONST(0x3030303030303030) + letters * ('a' - 10 - '0'));
}

/*
 * Writes the text form, UUID_TEXT_LENGTH characters without a terminator.
 */
static inline void
uuidkey_print(const UuidKey *key, char *out)
{
	uint64		digits[4] = {
		uuidkey_digits((uint32) (key->high >> 32)), uuidkey_digits((uint32) key->high),
		uuidkey_digits((uint32) (key->low >> 32)), uuidkey_digits((uint32) key->low)
	};

	memcpy(out, &digits[0], 8);
	memcpy(out + 9, &digits[1], 4);
	memcpy(out + 14, (char *) &digits[1] + 4, 4);
	memcpy(out + 19, &digits[2], 4);
	memcpy(out + 24, (char *) &digits[2] + 4, 4);
	memcpy(out + 28, &digits[3], 8);
	out[8] = out[13] = out[18] = out[23] = '-';
}

extern bool uuidkey_parse(UuidKey *key, const char *form, int length);
extern void uuidkeys_sort(UuidKey *keys, Size count);
extern Size uuidkeys_distinct(UuidKey *keys, Size count);

#endif							/* PETITION_CAS_UUIDKEYS_H */
