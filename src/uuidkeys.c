/*-------------------------------------------------------------------------
 *
 * uuidkeys.c
 *	  Arrays of uuids as pairs of machine words: load, parse, print, sort.
 *
 * This is the fast path of idset.c.  What it computes is what the general
 * path computes from the text forms; only the time differs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

#include "uuidkeys.h"

#define ST_SORT uuidkeys_comparison_sort
#define ST_ELEMENT_TYPE UuidKey
#define ST_COMPARE(a, b) uuidkey_compare(a, b)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

/* The radix sort looks at RADIX_PASSES * RADIX_BITS bits of each key. */
#define RADIX_BITS			11
#define RADIX_PASSES		3
#define RADIX_BUCKETS		(1 << RADIX_BITS)
#define RADIX_KEY_BITS		(RADIX_PASSES * RADIX_BITS)

/* Below this count its histograms cost more than they save. */
#define RADIX_MIN_COUNT		1000

/* The value of each hexadecimal digit, marked as being one. */
#define DIGIT 0x10
static const uint8 digit_values[256] = {
	['0'] = DIGIT | 0, DIGIT | 1, DIGIT | 2, DIGIT | 3, DIGIT | 4,
	DIGIT | 5, DIGIT | 6, DIGIT | 7, DIGIT | 8, DIGIT | 9,
	['A'] = DIGIT | 10, DIGIT | 11, DIGIT | 12, DIGIT | 13, DIGIT | 14, DIGIT | 15,
	['a'] = DIGIT | 10, DIGIT | 11, DIGIT | 12, DIGIT | 13, DIGIT | 14, DIGIT | 15
};

/* Where the two digits of each byte stand in the text form. */
static const uint8 digit_places[16] = {
	0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34
};

/*
 * Reads a uuid written as the type's output writes it, upper case allowed.
 * Returns false for every other form, which is then for uuid_in to judge.
 */
bool
uuidkey_parse(UuidKey *key, const char *text, int length)
{
	const uint8 *in = (const uint8 *) text;
	uint64		words[2] = {0, 0};
	uint8		marks = DIGIT;

	if (length != UUID_TEXT_LENGTH ||
		in[8] != '-' || in[13] != '-' || in[18] != '-' || in[23] != '-')
		return false;

	for (int i = 0; i < 16; i++)
	{
		uint8		first = digit_values[in[digit_places[i]]];
		uint8		second = digit_values[in[digit_places[i] + 1]];

		marks &= first & second;
		words[i / 8] = (words[i / 8] << 8) | (first & 0x0f) << 4 | (second & 0x0f);
	}
	key->high = words[0];
	key->low = words[1];
	return marks != 0;
}

/*
 * Writes the text form, UUID_TEXT_LENGTH characters without a terminator.
 */
void
uuidkey_print(const UuidKey *key, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < 16; i++)
	{
		uint64		word = i < 8 ? key->high : key->low;
		uint8		byte = (uint8) (word >> (56 - 8 * (i % 8)));

		out[digit_places[i]] = digits[byte >> 4];
		out[digit_places[i] + 1] = digits[byte & 0x0f];
	}
	out[8] = out[13] = out[18] = out[23] = '-';
}

/*
 * Tells whether the keys are in ascending order.
 */
static bool
is_sorted(const UuidKey *keys, Size count)
{
	for (Size i = 1; i < count; i++)
	{
		if (uuidkey_compare(&keys[i - 1], &keys[i]) > 0)
			return false;
	}
	return true;
}

/*
 * Finds how far to shift the high words to the right for the RADIX_KEY_BITS
 * bits below the prefix that all keys share.
 */
static int
radix_shift(const UuidKey *keys, Size count)
{
	uint64		difference = 0;
	int			top;

	for (Size i = 1; i < count; i++)
		difference |= keys[i].high ^ keys[0].high;
	if (difference == 0)
		return 0;
	top = pg_leftmost_one_pos64(difference) + 1;
	return Max(0, top - RADIX_KEY_BITS);
}

/*
 * One pass of the radix sort: copies the keys from one array to the other,
 * ordered by the digit at shift, and otherwise in the order they had.
 */
static void
radix_pass(const UuidKey *from, UuidKey *to, Size count, int shift)
{
	Size		starts[RADIX_BUCKETS] = {0};
	Size		start = 0;

	for (Size i = 0; i < count; i++)
		starts[(from[i].high >> shift) & (RADIX_BUCKETS - 1)]++;
	for (int bucket = 0; bucket < RADIX_BUCKETS; bucket++)
	{
		Size		size = starts[bucket];

		starts[bucket] = start;
		start += size;
	}
	for (Size i = 0; i < count; i++)
		to[starts[(from[i].high >> shift) & (RADIX_BUCKETS - 1)]++] = from[i];
}

/*
 * Sorts by insertion what the radix sort left: keys that agree in the bits it
 * looked at.  Returns false, with all keys still there in some order, if
 * that takes more than a few moves for each key.
 */
static bool
insertion_sort(UuidKey *keys, Size count)
{
	Size		moves_left = 8 * count;

	for (Size i = 1; i < count; i++)
	{
		UuidKey		key = keys[i];
		Size		place = i;

		while (place > 0 && uuidkey_compare(&keys[place - 1], &key) > 0 && moves_left > 0)
		{
			keys[place] = keys[place - 1];
			place--;
			moves_left--;
		}
		keys[place] = key;
		if (moves_left == 0)
			return false;
	}
	return true;
}

/*
 * Sorts the keys, using the same amount of memory again from the current
 * context while it runs.
 *
 * Random uuids differ early, so that three passes over the bits below their
 * common prefix all but sort them; so do uuids that begin with the time.
 * Keys made so that they do not are sorted by comparison.
 */
void
uuidkeys_sort(UuidKey *keys, Size count)
{
	if (is_sorted(keys, count))
		return;

	if (count >= RADIX_MIN_COUNT)
	{
		UuidKey    *scratch = MemoryContextAllocHuge(CurrentMemoryContext,
													 count * sizeof(UuidKey));
		UuidKey    *from = keys;
		UuidKey    *to = scratch;
		int			shift = radix_shift(keys, count);
		bool		done;

		for (int pass = 0; pass < RADIX_PASSES; pass++)
		{
			UuidKey    *swap = from;

			CHECK_FOR_INTERRUPTS();
			radix_pass(from, to, count, shift + pass * RADIX_BITS);
			from = to;
			to = swap;
		}
		memcpy(keys, from, count * sizeof(UuidKey));
		pfree(scratch);

		done = insertion_sort(keys, count);
		if (done)
			return;
	}
	uuidkeys_comparison_sort(keys, count);
}

/*
 * Moves the distinct ones of the sorted keys to the front, in order, and
 * returns how many they are.
 */
Size
uuidkeys_distinct(UuidKey *keys, Size count)
{
	Size		kept = 0;

	for (Size i = 0; i < count; i++)
	{
		if (kept == 0 || uuidkey_compare(&keys[kept - 1], &keys[i]) != 0)
			keys[kept++] = keys[i];
	}
	return kept;
}
