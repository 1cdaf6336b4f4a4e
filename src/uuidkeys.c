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
 * Returns the eight bytes at an address, in memory order.
 */
static inline uint64
eight_bytes(const char *address)
{
	uint64		bytes;

	memcpy(&bytes, address, sizeof(bytes));
	return bytes;
}

/*
 * Returns the four bytes before a hyphen and the four behind it, in memory
 * order; the address is that of the first.
 */
static inline uint64
eight_bytes_with_hyphen(const char *address)
{
	const uint64 before = pg_hton64(UINT64CONST(0xffffffff00000000));

	return (eight_bytes(address) & before) | (eight_bytes(address + 1) & ~before);
}

#ifdef __SSE2__

/*
 * Turns digits, a byte each, into numbers below 16, whatever the bytes are.
 */
static inline __m128i
numbers_of_digits(__m128i digits)
{
	__m128i		letters = _mm_cmpgt_epi8(digits, _mm_set1_epi8('9'));

	digits = _mm_sub_epi8(_mm_sub_epi8(digits, _mm_set1_epi8('0')),
						  _mm_and_si128(letters, _mm_set1_epi8('a' - 10 - '0')));
	return _mm_and_si128(digits, _mm_set1_epi8(0x0f));
}

/*
 * Puts each two numbers together: a byte in the lower half of 16 bits.
 */
static inline __m128i
bytes_of_numbers(__m128i numbers)
{
	return _mm_and_si128(_mm_or_si128(_mm_slli_epi16(numbers, 4), _mm_srli_epi16(numbers, 8)),
						 _mm_set1_epi16(0x00ff));
}

/*
 * Reads a uuid's digits.  What it returns for other characters is not to be
 * used.
 */
static inline void
read_digits(UuidKey *key, const UuidDigits *digits)
{
	__m128i		high = _mm_set_epi64x(digits->words[1], digits->words[0]);
	__m128i		low = _mm_set_epi64x(digits->words[3], digits->words[2]);
	char		bytes[16];

	_mm_storeu_si128((__m128i *) bytes,
					 _mm_packus_epi16(bytes_of_numbers(numbers_of_digits(high)),
									  bytes_of_numbers(numbers_of_digits(low))));
	uuidkey_load(key, bytes);
}

#else

/*
 * Reads eight hexadecimal digits, bytes in memory order.
 */
static inline uint32
read_word(uint64 digits)
{
	digits = pg_ntoh64(digits);

	/* A letter has bit 6 set, and is worth 9 more than its last four bits. */
	digits = (digits & UINT64CONST(0x0f0f0f0f0f0f0f0f)) +
		9 * ((digits >> 6) & UINT64CONST(0x0101010101010101));
	digits = (digits | (digits >> 4)) & UINT64CONST(0x00ff00ff00ff00ff);
	digits = (digits | (digits >> 8)) & UINT64CONST(0x0000ffff0000ffff);
	return (uint32) (digits | (digits >> 16));
}

/*
 * Reads a uuid's digits.  What it returns for other characters is not to be
 * used.
 */
static inline void
read_digits(UuidKey *key, const UuidDigits *digits)
{
	key->high = (uint64) read_word(digits->words[0]) << 32 | read_word(digits->words[1]);
	key->low = (uint64) read_word(digits->words[2]) << 32 | read_word(digits->words[3]);
}

#endif

/*
 * Reads a uuid written as the type's output writes it.  Returns false for
 * every other form, which is then for uuid_in to judge.
 *
 * It is that form if, and only if, printing what was read gives it back.
 */
bool
uuidkey_parse(UuidKey *key, const char *form, int length)
{
	UuidDigits	written;
	UuidDigits	printed;
	uint64		difference = 0;

	if (length != UUID_TEXT_LENGTH ||
		form[8] != '-' || form[13] != '-' || form[18] != '-' || form[23] != '-')
		return false;

	written.words[0] = eight_bytes(form);
	written.words[1] = eight_bytes_with_hyphen(form + 9);
	written.words[2] = eight_bytes_with_hyphen(form + 19);
	written.words[3] = eight_bytes(form + 28);
	read_digits(key, &written);

	printed = uuidkey_digits(key);
	for (int i = 0; i < lengthof(written.words); i++)
		difference |= written.words[i] ^ printed.words[i];
	return difference == 0;
}

/*
 * Tells whether the keys are in ascending order, without doubles.
 */
static bool
is_ascending(const UuidKey *keys, Size count)
{
	for (Size i = 1; i < count; i++)
	{
		if (uuidkey_compare(&keys[i - 1], &keys[i]) >= 0)
			return false;
	}
	return true;
}

/*
 * Finds how far to shift the high words to the right for the given number of
 * bits below the prefix that all keys share.
 */
static int
radix_shift(const UuidKey *keys, Size count, int bits)
{
	uint64		difference = 0;
	int			top;

	for (Size i = 1; i < count; i++)
		difference |= keys[i].high ^ keys[0].high;
	if (difference == 0)
		return 0;
	top = pg_leftmost_one_pos64(difference) + 1;
	return Max(0, top - bits);
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
	int			shift = radix_shift(keys, count, passes * RADIX_BITS);

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
 * Moves the distinct ones of the sorted keys to the front, in order, and
 * returns how many they are.
 */
static Size
keep_distinct(UuidKey *keys, Size count)
{
	Size		kept = 0;

	for (Size i = 0; i < count; i++)
	{
		if (kept == 0 || uuidkey_compare(&keys[kept - 1], &keys[i]) != 0)
			keys[kept++] = keys[i];
	}
	return kept;
}

/*
 * Sorts the keys, so that the distinct ones of them stand at the front, and
 * returns how many they are.
 */
Size
uuidkeys_sort(UuidKey *keys, Size count)
{
	if (is_ascending(keys, count))
		return count;
	if (count < RADIX_MIN_COUNT || !uuidkeys_radix_sort(keys, count))
		uuidkeys_comparison_sort(keys, count);
	return keep_distinct(keys, count);
}
