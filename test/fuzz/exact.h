/*-------------------------------------------------------------------------
 *
 * exact.h
 *	  Memory for the parsers, instead of the server's, while they are fuzzed.
 *
 * The server carves its chunks out of blocks, rounded up, so that a byte too
 * far is seldom noticed.  Here each chunk ends where a page ends that nobody
 * may touch.  To be included before a source of the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_FUZZ_EXACT_H
#define PETITION_CAS_FUZZ_EXACT_H

#include "postgres.h"

#include "utils/memutils.h"

extern void *exact_alloc(Size size, int flags);
extern void *exact_realloc(void *pointer, Size size, int flags);
extern char *exact_strndup(const char *text, Size length);
extern void exact_reset(void);

#define palloc(size) exact_alloc(size, 0)
#define palloc0(size) exact_alloc(size, MCXT_ALLOC_ZERO)
#define repalloc(pointer, size) exact_realloc(pointer, size, 0)
#define repalloc_huge(pointer, size) exact_realloc(pointer, size, MCXT_ALLOC_HUGE)
#define pnstrdup(text, length) exact_strndup(text, length)
#define MemoryContextAllocExtended(context, size, flags) exact_alloc(size, flags)

#endif							/* PETITION_CAS_FUZZ_EXACT_H */
