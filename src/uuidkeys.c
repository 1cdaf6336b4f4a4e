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

/*
 * The radix sort looks at RADIX_BITS bits of each key in each pass.  Passes are
 * few, since what they leave in disorder is cheaply put in order by insertion;
 * and they are even in number, since each goes to the other of two arrays.
 */
#define RADIX_BITS			10
#define RADIX_BUCKETS		(1 << RADIX_BITS)
#define RADIX_PASSES(count)	((count) > 4 * RADIX_BUCKETS * RADIX_BUCKETS ? 4 : 2)

/* Below this count its histograms cost more than they save. */
#define RADIX_MIN_COUNT		1000

/*
 * Returns the number that eight digits write, bytes in memory order.  What it
 * returns for other characters is not to be used.
 */
static inline uint64
read_digits(uint64 digits)
{
	digits = pg_ntoh64(digits);

	/* A letter has bit 6 set, and is worth 9 more than its last four bits. */
	digits = (digits & UINT64CONST(0x0f0f0f0f0f0f0f0f)) +
		9 * ((digits >> 6) & UINT64CONST(0x0101010101010101));
	digits = (digits | (digits >> 4)) & UINT64CONST(0x00ff00ff00ff00ff);
	digits = (digits | (digits >> 8)) & UINT64CONST(0x0000ffff0000ffff);
	return (digits | (digits >> 16)) & UINT64CONST(0xffffffff);
}

/*
 * Returns the four digits before a hyphen and the four behind it.
 */
static inline uint64
around_hyphen(const char *digits)
{
	const uint64 before = pg_hton64(UINT64CONST(0xffffffff00000000));
	uint64		first;
	uint64		second;

	memcpy(&first, digits, sizeof(first));
	memcpy(&second, digits + 1, sizeof(second));
	return (first & before) | (second & ~before);
}

/*
 * Reads a uuid written as the type's output writes it.  Returns false for
 * every other form, which is then for uuid_in to judge.
 *
 * It is that form if, and only if, the digits of what was read are those that
 * are written.
 */
bool
uuidkey_parse(UuidKey *key, const char *form, int length)
{
	uint64		written[4];
	uint64		printed[4];

	if (length != UUID_TEXT_LENGTH ||
		form[8] != '-' || form[13] != '-' || form[18] != '-' || form[23] != '-')
		return false;

	memcpy(&written[0], form, sizeof(uint64));
	written[1] = around_hyphen(form + 9);
	written[2] = around_hyphen(form + 19);
	memcpy(&written[3], form + 28, sizeof(uint64));
	key->high = read_digits(written[0]) << 32 | read_digits(written[1]);
	key->low = read_digits(written[2]) << 32 | read_digits(written[3]);

	uuidkey_digits(key, (char *) printed);
	return written[0] == printed[0] && written[1] == printed[1] &&
		written[2] == printed[2] && written[3] == printed[3];
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
 * Sorts the keys by radix, using the same amount of memory again from the
 * current context while it runs.  Returns false, with all keys still there in
 * some order, for keys made so that this would not be fast.
 *
 * Random uuids differ early, so that a few passes over the bits below their
 * common prefix all but sort them; so do uuids that begin with the time.
 */
static bool
uuidkeys_radix_sort(UuidKey *keys, Size count)
{
	UuidKey    *scratch = MemoryContextAllocHuge(CurrentMemoryContext, count * sizeof(UuidKey));
	int			passes = RADIX_PASSES(count);
	uint64		difference = 0;
	int			shift = 0;

	for (Size i = 1; i < count; i++)
		difference |= keys[i].high ^ keys[0].high;
	if (difference != 0)
		shift = Max(0, pg_leftmost_one_pos64(difference) + 1 - passes * RADIX_BITS);

	for (int pass = 0; pass < passes; pass += 2)
	{
		CHECK_FOR_INTERRUPTS();
		radix_pass(keys, scratch, count, shift + pass * RADIX_BITS);
		radix_pass(scratch, keys, count, shift + (pass + 1) * RADIX_BITS);
	}
	pfree(scratch);
	return insertion_sort(keys, count);
}

/*
 * Sorts the keys, so that the distinct ones of them stand at the front, and
 * returns how many they are.
 */
Size
uuidkeys_sort(UuidKey *keys, Size count)
{
	Size		ascending = 1;
	Size		kept = 1;

	/* Those of an index, or of an array that we made, are in order. */
	while (ascending < count && uuidkey_compare(&keys[ascending - 1], &keys[ascending]) < 0)
		ascending++;
	if (ascending >= count)
		return count;

	if (count < RADIX_MIN_COUNT || !uuidkeys_radix_sort(keys, count))
		uuidkeys_comparison_sort(keys, count);
	for (Size i = 1; i < count; i++)
	{
		if (uuidkey_compare(&keys[kept - 1], &keys[i]) != 0)
			keys[kept++] = keys[i];
	}
	return kept;
}
