/*-------------------------------------------------------------------------
 *
 * exact.c
 *	  Memory for the parsers, instead of the server's, while they are fuzzed.
 *
 * A slot is some pages, followed by one that nobody may touch.  A chunk
 * lies at the end of its slot, so that the first byte behind it cannot be read
 * or written, and is filled with a pattern, so that what is read before it is
 * written is wrong.  The bytes before it must be as they were when it is given
 * back.  The size of a struct is a multiple of its alignment, so a chunk of
 * structs is aligned as well.
 *
 * Slots are never returned to the system, which makes them fast; an input
 * that needs more of them than there are, or a larger one, gets the rest from
 * malloc.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/mman.h>
#include <unistd.h>

#include "utils/memutils.h"

#include "exact.h"

#define SMALL_SLOTS		8192
#define SMALL_PAGES		1
#define LARGE_SLOTS		256
#define LARGE_PAGES		64
#define MARGIN			16		/* bytes before a chunk that are checked */

#define PATTERN_MARGIN	0xA5
#define PATTERN_NEW		0x7E
#define PATTERN_OLD		0x7F

/* Slots of one size; those of the current input are the first ones. */
typedef struct Slots
{
	int			number;
	int			pages;
	int			used;
	char	   *start;
} Slots;

typedef struct Chunk
{
	char	   *start;
	Size		size;
	bool		in_slot;
} Chunk;

static Slots small = {SMALL_SLOTS, SMALL_PAGES, 0, NULL};
static Slots large = {LARGE_SLOTS, LARGE_PAGES, 0, NULL};

static Chunk *chunks;
static int	nchunks;
static int	chunks_capacity;

/*
 * Makes slots, all of them at once.
 */
static void
make_slots(Slots *slots)
{
	Size		page = sysconf(_SC_PAGESIZE);
	Size		size = (slots->pages + 1) * page;

	slots->start = mmap(NULL, slots->number * size, PROT_READ | PROT_WRITE,
						MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (slots->start == MAP_FAILED)
		elog(FATAL, "no memory for slots: %m");
	for (int i = 0; i < slots->number; i++)
	{
		if (mprotect(slots->start + i * size + slots->pages * page, page, PROT_NONE) != 0)
			elog(FATAL, "no page to be protected: %m");
	}
}

/*
 * Returns size bytes at the end of the next slot, or NULL if there is none or
 * it is too small.
 */
static char *
take_slot(Slots *slots, Size size)
{
	Size		page = sysconf(_SC_PAGESIZE);

	if (slots->start == NULL)
		make_slots(slots);
	if (slots->used == slots->number || size + MARGIN > slots->pages * page)
		return NULL;
	return slots->start + slots->used++ * (slots->pages + 1) * page + slots->pages * page - size;
}

/*
 * Does what MemoryContextAllocExtended does.
 */
void *
exact_alloc(Size size, int flags)
{
	Chunk		chunk = {NULL, size, true};

	if (!AllocHugeSizeIsValid(size) ||
		((flags & MCXT_ALLOC_HUGE) == 0 && !AllocSizeIsValid(size)))
		elog(ERROR, "invalid memory alloc request size %zu", size);

	if (nchunks == chunks_capacity)
	{
		chunks_capacity = Max(64, chunks_capacity * 2);
		chunks = realloc(chunks, chunks_capacity * sizeof(Chunk));
	}
	chunk.start = take_slot(&small, size);
	if (chunk.start == NULL)
		chunk.start = take_slot(&large, size);
	if (chunk.start == NULL)
	{
		chunk.in_slot = false;
		chunk.start = malloc(size);
	}
	if (chunks == NULL || chunk.start == NULL)
		elog(ERROR, "out of memory");

	if (chunk.in_slot)
		memset(chunk.start - MARGIN, PATTERN_MARGIN, MARGIN);
	memset(chunk.start, (flags & MCXT_ALLOC_ZERO) != 0 ? 0 : PATTERN_NEW, size);
	chunks[nchunks++] = chunk;
	return chunk.start;
}

/*
 * Does what repalloc does, and repalloc_huge with that flag.  The chunk always
 * moves, and what it leaves behind is of no use.
 */
void *
exact_realloc(void *pointer, Size size, int flags)
{
	char	   *result = exact_alloc(size, flags);
	int			i = nchunks - 2;

	while (i >= 0 && chunks[i].start != pointer)
		i--;
	if (i < 0)
		elog(ERROR, "repalloc of what was not allocated here");
	memcpy(result, pointer, Min(size, chunks[i].size));
	memset(pointer, PATTERN_OLD, chunks[i].size);
	return result;
}

/*
 * Does what pnstrdup does.
 */
char *
exact_strndup(const char *text, Size length)
{
	char	   *result;

	length = strnlen(text, length);
	result = exact_alloc(length + 1, 0);
	memcpy(result, text, length);
	result[length] = '\0';
	return result;
}

/*
 * Takes all chunks back, and looks whether something was written before them.
 */
void
exact_reset(void)
{
	while (nchunks > 0)
	{
		Chunk	   *chunk = &chunks[--nchunks];

		if (!chunk->in_slot)
			free(chunk->start);
		else
		{
			for (int i = 1; i <= MARGIN; i++)
			{
				if ((unsigned char) chunk->start[-i] != PATTERN_MARGIN)
				{
					fprintf(stderr, "FINDING: written before a chunk of %zu bytes\n", chunk->size);
					abort();
				}
			}
		}
	}
	small.used = large.used = 0;
}
