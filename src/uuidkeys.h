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

#ifdef __SSE2__
#include <emmintrin.h>
#endif

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
 * A uuid's 32 hexadecimal digits, in memory order.  Hexadecimal takes a fifth
 * of the time of a roster's hash, so that x86-64, where every machine has SSE2,
 * gets it by that; other machines work on eight digits at once in a word.  To
 * test that on x86-64: make COPT=-U__SSE2__.
 */
typedef union UuidDigits
{
	char		chars[32];
	uint64		words[4];
} UuidDigits;

#ifdef __SSE2__

/*
 * Turns numbers below 16, a byte each, into digits.
 */
static inline __m128i
digits_of_numbers(__m128i numbers)
{
	__m128i		letters = _mm_cmpgt_epi8(numbers, _mm_set1_epi8(9));

	return _mm_add_epi8(_mm_add_epi8(numbers, _mm_set1_epi8('0')),
						_mm_and_si128(letters, _mm_set1_epi8('a' - 10 - '0')));
}

/*
 * Returns the digits of a uuid.
 */
static inline UuidDigits
uuidkey_digits(const UuidKey *key)
{
	UuidDigits	digits;
	__m128i		bytes = _mm_set_epi64x(pg_hton64(key->low), pg_hton64(key->high));
	__m128i		first = _mm_and_si128(_mm_srli_epi64(bytes, 4), _mm_set1_epi8(0x0f));
	__m128i		second = _mm_and_si128(bytes, _mm_set1_epi8(0x0f));

	_mm_storeu_si128((__m128i *) digits.chars,
					 digits_of_numbers(_mm_unpacklo_epi8(first, second)));
	_mm_storeu_si128((__m128i *) (digits.chars + 16),
					 digits_of_numbers(_mm_unpackhi_epi8(first, second)));
	return digits;
}

#else

/*
 * Returns the eight hexadecimal digits of a number, as bytes in memory order:
 * each half byte is spread to a byte, and letters get what is between the
 * digits and them.
 */
static inline uint64
digits_of_number(uint32 number)
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
 * Returns the digits of a uuid.
 */
static inline UuidDigits
uuidkey_digits(const UuidKey *key)
{
	UuidDigits	digits;

	digits.words[0] = digits_of_number((uint32) (key->high >> 32));
	digits.words[1] = digits_of_number((uint32) key->high);
	digits.words[2] = digits_of_number((uint32) (key->low >> 32));
	digits.words[3] = digits_of_number((uint32) key->low);
	return digits;
}

#endif

/*
 * Writes the text form, UUID_TEXT_LENGTH characters without a terminator.
 */
static inline void
uuidkey_print(const UuidKey *key, char *out)
{
	UuidDigits	digits = uuidkey_digits(key);

	memcpy(out, digits.chars, 8);
	memcpy(out + 9, digits.chars + 8, 4);
	memcpy(out + 14, digits.chars + 12, 4);
	memcpy(out + 19, digits.chars + 16, 4);
	memcpy(out + 24, digits.chars + 20, 4);
	memcpy(out + 28, digits.chars + 24, 8);
	out[8] = out[13] = out[18] = out[23] = '-';
}

extern bool uuidkey_parse(UuidKey *key, const char *form, int length);
extern Size uuidkeys_sort(UuidKey *keys, Size count);

#endif							/* PETITION_CAS_UUIDKEYS_H */
