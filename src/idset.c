/*-------------------------------------------------------------------------
 *
 * idset.c
 *	  Sets of ids: collected, sorted by text form, hashed and compared.
 *
 * What identifies an id is its text form: the output of its type under fixed
 * settings, in UTF-8.  Sets are ordered bytewise by it and have no duplicates.
 *
 * There are two representations.  Ids of type uuid are kept as pairs of
 * machine words (uuidkeys.c), 16 bytes each, since their text forms sort and
 * differ as their bytes do.  Ids of every other type are kept as text, in
 * the set's own space.
 *
 * Memory: each set has a context of its own below the one that was current at
 * idset_create, and idset_free gives it back whole.  For 1,000,000 uuids that
 * is 16 MB, and as much again while they are sorted.  Arrays may be huge.
 *
 * Ids that their type's output function prints are collected as values, and
 * printed all at once by idset_finish: the query that they come from must run
 * under the session's settings, and changing them for each id would cost
 * some ten microseconds.  What the fixed settings are text_form.c tells.
 *
 * Two ids that differ as text may be equal for their type: 1.1 and 1.10, or a
 * citext in two spellings.  Sets keep both; idset_remove_equal knows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/arrayaccess.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/expandeddatum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "compat.h"
#include "errors.h"
#include "idset.h"
#include "text_form.h"
#include "uuidkeys.h"

/* What is fed to SHA-256 at once. */
#define HASH_BLOCK_SIZE		65536

/* How many bytes of an id an error shows at most. */
#define SHOWN_ID	200

/* How many ids an error shows at most. */
#define SHOWN_IDS	100

/* The first and the largest piece of space for texts. */
#define SPACE_MIN			8192
#define SPACE_MAX			(4 * 1024 * 1024)

/* How often loops that call nobody else look for interrupts. */
#define INTERRUPT_INTERVAL	65536

/*
 * An id as text in UTF-8, with a newline after it for the hash.  The prefix is
 * its first eight bytes as a big-endian number, filled with zeros: most
 * comparisons end there.
 */
typedef struct TextKey
{
	uint64		prefix;
	const char *data;
	int			length;
} TextKey;

/* How a type's values are printed. */
typedef enum IdForm
{
	ID_UUID,					/* kept as UuidKey */
	ID_TEXT,					/* is its own text form */
	ID_INTEGER,					/* printed here */
	ID_OTHER					/* printed by its output function */
} IdForm;

struct IdSet
{
	ExpandedObjectHeader header;	/* for idset_array; comes first */
	MemoryContext context;		/* holds the set */
	MemoryContext scratch;		/* reset after each id */
	Oid			type;			/* as text_form_type has it */
	int32		typmod;
	IdForm		form;
	int16		typlen;
	bool		typbyval;
	char		typalign;
	bool		convert;		/* is the server's encoding not UTF-8? */

	Size		count;
	Size		capacity;
	UuidKey    *uuids;			/* for ID_UUID */
	TextKey    *texts;			/* for all others */
	char	   *space;			/* for more texts */
	Size		space_left;
	Size		space_size;

	Size		nvalues;		/* for ID_OTHER: not printed yet */
	Size		values_capacity;
	Datum	   *values;
};

/*
 * Compares two texts bytewise.
 */
static inline int
textkey_compare(const TextKey *a, const TextKey *b)
{
	int			result;

	if (a->prefix != b->prefix)
		return a->prefix < b->prefix ? -1 : 1;
	result = memcmp(a->data, b->data, Min(a->length, b->length));
	if (result != 0)
		return result;
	return (a->length > b->length) - (a->length < b->length);
}

#define ST_SORT textkeys_sort
#define ST_ELEMENT_TYPE TextKey
#define ST_COMPARE(a, b) textkey_compare(a, b)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

/*
 * Chooses how values of a type are printed.
 */
static IdForm
form_of_type(Oid type)
{
	switch (type)
	{
		case UUIDOID:
			return ID_UUID;
		case TEXTOID:
		case VARCHAROID:
			return ID_TEXT;
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return ID_INTEGER;
		default:
			return ID_OTHER;
	}
}

/*
 * Creates an empty set for ids of a type, below the current memory context.
 * The typmod matters only to idset_read_array.
 */
IdSet *
idset_create(Oid type, int32 typmod)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "petition_cas id set",
												  ALLOCSET_SMALL_SIZES);
	IdSet	   *set = MemoryContextAllocZero(context, sizeof(IdSet));

	set->context = context;
	set->scratch = AllocSetContextCreate(context, "petition_cas id scratch",
										 ALLOCSET_SMALL_SIZES);
	set->type = text_form_type(type, &typmod);
	set->typmod = typmod;
	set->form = form_of_type(set->type);
	get_typlenbyvalalign(set->type, &set->typlen, &set->typbyval, &set->typalign);
	set->convert = GetDatabaseEncoding() != PG_UTF8;
	return set;
}

/*
 * Frees a set.
 */
void
idset_free(IdSet *set)
{
	MemoryContextDelete(set->context);
}

/*
 * Returns a larger array in place of one that is full, for at_least elements,
 * and sets its new capacity; elements is NULL at first.
 */
static void *
enlarge_array(IdSet *set, void *elements, Size *capacity, Size at_least, Size element_size)
{
	*capacity = Max(Max(2 * *capacity, 64), at_least);
	if (elements == NULL)
		return MemoryContextAllocHuge(set->context, *capacity * element_size);
	return repalloc_huge(elements, *capacity * element_size);
}

/*
 * Sees to it that more ids can be added.
 */
static void
reserve_ids(IdSet *set, Size more)
{
	Size		needed = set->count + more;

	if (needed <= set->capacity)
		return;
	if (set->form == ID_UUID)
		set->uuids = enlarge_array(set, set->uuids, &set->capacity, needed, sizeof(UuidKey));
	else
		set->texts = enlarge_array(set, set->texts, &set->capacity, needed, sizeof(TextKey));
}

/*
 * Returns length bytes of the set's space for texts.
 */
static char *
take_space(IdSet *set, Size length)
{
	char	   *taken;

	if (length > set->space_left)
	{
		set->space_size = Min(Max(2 * set->space_size, SPACE_MIN), SPACE_MAX);
		set->space_left = Max(set->space_size, length);
		set->space = MemoryContextAllocHuge(set->context, set->space_left);
	}
	taken = set->space;
	set->space += length;
	set->space_left -= length;
	return taken;
}

/*
 * Adds an id by its text form in the server's encoding, which it copies.  Raises
 * 22023 if that has a newline, which would make the hash ambiguous; of a long id
 * the error shows the beginning.
 */
static void
add_text(IdSet *set, const char *data, Size length)
{
	TextKey    *key;
	char	   *copy;
	uint64		prefix = 0;

	if (memchr(data, '\n', length) != NULL)
	{
		StringInfoData detail;
		int			shown = pg_mbcliplen(data, Min(length, 2 * SHOWN_ID), SHOWN_ID);

		detail_begin(&detail);
		detail_text(&detail, "id", pnstrdup(data, shown));
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an id of a roster must not contain a newline"),
				 errdetail_internal("%s", detail_end(&detail))));
	}

	if (set->convert)
	{
		char	   *converted = pg_server_to_any(data, length, PG_UTF8);

		if (converted != data)
			length = strlen(converted);
		data = converted;
	}

	if (set->count == set->capacity)
		reserve_ids(set, 1);
	copy = take_space(set, length + 1);
	memcpy(copy, data, length);
	copy[length] = '\n';
	memcpy(&prefix, data, Min(length, sizeof(prefix)));

	key = &set->texts[set->count++];
	key->prefix = pg_ntoh64(prefix);
	key->data = copy;
	key->length = length;
}

/*
 * Adds an id, a value of the set's type.  Raises 22004 for a null, and 22023
 * for a text form with a newline, which may come only with idset_finish.
 */
void
idset_add(IdSet *set, Datum id, bool isnull)
{
	char		digits[MAXINT8LEN + 1];
	text	   *value;
	MemoryContext caller;

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("an id of a roster must not be null")));

	if (set->form == ID_UUID)
	{
		if (set->count == set->capacity)
			reserve_ids(set, 1);
		uuidkey_load(&set->uuids[set->count++], DatumGetUUIDP(id)->data);
	}
	else if (set->form == ID_INTEGER)
	{
		int64		number = DatumGetInt16(id);
		int			length;

		if (set->type == INT8OID)
			number = DatumGetInt64(id);
		else if (set->type == INT4OID)
			number = DatumGetInt32(id);
		length = pg_lltoa(number, digits);
		add_text(set, digits, length);
	}
	else if (set->form == ID_TEXT)
	{
		/* Detoasting and conversion may leave something behind. */
		caller = MemoryContextSwitchTo(set->scratch);
		value = DatumGetTextPP(id);
		add_text(set, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
		MemoryContextSwitchTo(caller);
		MemoryContextReset(set->scratch);
	}
	else
	{
		/* By the time it is printed, the row it came from may be gone. */
		caller = MemoryContextSwitchTo(set->context);
		if (set->nvalues == set->values_capacity)
			set->values = enlarge_array(set, set->values, &set->values_capacity,
										set->nvalues + 1, sizeof(Datum));
		if (set->typlen == -1)
			id = PointerGetDatum(PG_DETOAST_DATUM_COPY(id));
		else
			id = datumCopy(id, set->typbyval, set->typlen);
		set->values[set->nvalues++] = id;
		MemoryContextSwitchTo(caller);
	}
}

/*
 * Adds each element of an array of the set's type; errors as idset_add.
 */
void
idset_add_array(IdSet *set, ArrayType *ids)
{
	int			count = ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids));
	array_iter	iterator;

	reserve_ids(set, count);
	array_iter_setup(&iterator, (AnyArrayType *) ids);
	for (int i = 0; i < count; i++)
	{
		bool		isnull;
		Datum		id = array_iter_next(&iterator, &isnull, i, set->typlen,
										 set->typbyval, set->typalign);

		if (i % INTERRUPT_INTERVAL == 0)
			CHECK_FOR_INTERRUPTS();
		idset_add(set, id, isnull);
	}
}

/* How the text forms of an array's elements are read as ids of a set. */
typedef struct ElementReader
{
	IdSet	   *set;
	bool		is_text;		/* the elements are their own text forms */
	FmgrInfo	output;			/* of the elements, if not */
	FmgrInfo	input;			/* of the set's type */
	Oid			ioparam;
	FmgrInfo   *equal;			/* of the set's type if it has a typmod, or
								 * NULL */
} ElementReader;

/*
 * Adds an element by its text form.  That is read with the length or precision
 * of the key if those change only its form, as 1.1 to 1.10.  An id that they
 * would make another one is read without: 1.104 is not 1.10, and was not seen.
 */
static void
read_element(ElementReader *reader, Datum element)
{
	IdSet	   *set = reader->set;
	MemoryContext caller;
	char	   *form;
	Datum		id;

	if (reader->is_text && set->form == ID_UUID)
	{
		text	   *uuid = DatumGetTextPP(element);

		if (uuidkey_parse(&set->uuids[set->count], VARDATA_ANY(uuid), VARSIZE_ANY_EXHDR(uuid)))
		{
			set->count++;
			return;
		}
	}

	caller = MemoryContextSwitchTo(set->scratch);
	form = reader->is_text ? TextDatumGetCString(element) : OutputFunctionCall(&reader->output, element);
	id = InputFunctionCall(&reader->input, form, reader->ioparam, set->typmod);
	if (reader->equal != NULL)
	{
		Datum		exact = InputFunctionCall(&reader->input, form, reader->ioparam, -1);

		if (!DatumGetBool(FunctionCall2Coll(reader->equal, C_COLLATION_OID, id, exact)))
			id = exact;
	}
	MemoryContextSwitchTo(caller);
	idset_add(set, id, false);
	MemoryContextReset(set->scratch);
}

/*
 * Error context of idset_read_array: says which element it was reading.
 */
static void
reading_context(void *argument)
{
	IdSet	   *set = argument;

	errcontext("element %zu of the ids that were seen", set->count + set->nvalues + 1);
}

/*
 * Adds each element of an array of any type to an empty set: its text form, read
 * by the input function of the set's type.  Raises whatever that raises, 0A000
 * for a type whose values are not read (text_form.c), and as idset_add.
 */
void
idset_read_array(IdSet *set, ArrayType *ids)
{
	int			count = ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids));
	ElementReader reader = {.set = set};
	int32		typmod = -1;
	Oid			type = text_form_type(ARR_ELEMTYPE(ids), &typmod);
	int16		typlen;
	bool		typbyval;
	char		typalign;
	bool		is_varlena;
	Oid			function;
	ErrorContextCallback context;
	array_iter	iterator;
	int			outer;
	int			inner;

	check_nested_domains(set->type, ROSTER_DOMAIN_HINT);
	reader.is_text = form_of_type(type) == ID_TEXT;
	context.callback = reading_context;
	context.arg = set;
	context.previous = error_context_stack;
	error_context_stack = &context;

	/* A length or a precision is part of how an id is read. */
	if (set->typmod < 0 && (type == set->type || (reader.is_text && set->form == ID_TEXT)))
	{
		idset_add_array(set, ids);
		error_context_stack = context.previous;
		return;
	}

	getTypeOutputInfo(type, &function, &is_varlena);
	fmgr_info(function, &reader.output);
	getTypeInputInfo(set->type, &function, &reader.ioparam);
	fmgr_info(function, &reader.input);
	if (set->typmod >= 0)
	{
		TypeCacheEntry *entry = lookup_type_cache(set->type, TYPECACHE_EQ_OPR_FINFO);

		if (OidIsValid(entry->eq_opr_finfo.fn_oid))
			reader.equal = &entry->eq_opr_finfo;
	}

	outer = text_form_begin(set->type);
	inner = text_form_begin(type);
	reserve_ids(set, count);
	get_typlenbyvalalign(type, &typlen, &typbyval, &typalign);
	array_iter_setup(&iterator, (AnyArrayType *) ids);
	for (int i = 0; i < count; i++)
	{
		bool		isnull;
		Datum		element = array_iter_next(&iterator, &isnull, i, typlen, typbyval, typalign);

		if (i % INTERRUPT_INTERVAL == 0)
			CHECK_FOR_INTERRUPTS();
		if (isnull)
			idset_add(set, element, true);
		else
			read_element(&reader, element);
	}
	text_form_end(inner);
	text_form_end(outer);
	error_context_stack = context.previous;
}

/*
 * Adds the text forms of the values that wait for it.
 */
static void
print_values(IdSet *set)
{
	FmgrInfo	output;
	Oid			function;
	bool		is_varlena;
	MemoryContext caller;
	int			level;

	if (set->nvalues == 0)
		return;

	getTypeOutputInfo(set->type, &function, &is_varlena);
	fmgr_info(function, &output);
	reserve_ids(set, set->nvalues);

	level = text_form_begin(set->type);
	caller = MemoryContextSwitchTo(set->scratch);
	for (Size i = 0; i < set->nvalues; i++)
	{
		char	   *form = OutputFunctionCall(&output, set->values[i]);

		CHECK_FOR_INTERRUPTS();
		add_text(set, form, strlen(form));
		MemoryContextReset(set->scratch);
		if (!set->typbyval)
			pfree(DatumGetPointer(set->values[i]));
	}
	MemoryContextSwitchTo(caller);
	text_form_end(level);
	set->nvalues = 0;
}

/*
 * Makes the set sorted and distinct.  More ids may be added later, after
 * which it must be finished again.
 */
void
idset_finish(IdSet *set)
{
	MemoryContext caller = MemoryContextSwitchTo(set->context);
	Size		kept = 0;

	if (set->form == ID_UUID)
		set->count = uuidkeys_sort(set->uuids, set->count);
	else
	{
		print_values(set);
		textkeys_sort(set->texts, set->count);
		for (Size i = 0; i < set->count; i++)
		{
			if (kept == 0 || textkey_compare(&set->texts[kept - 1], &set->texts[i]) != 0)
				set->texts[kept++] = set->texts[i];
		}
		set->count = kept;
	}
	MemoryContextSwitchTo(caller);
}

/*
 * Returns how many ids the set has.
 */
Size
idset_count(const IdSet *set)
{
	return set->count;
}

/*
 * Returns the text form of the i-th id in the server's encoding, with its
 * length; may point into the set, where it is not terminated.
 */
static const char *
server_text(const IdSet *set, Size i, Size *length)
{
	const TextKey *key = &set->texts[i];
	const char *data = key->data;

	*length = key->length;
	if (set->convert)
	{
		data = pg_any_to_server(key->data, key->length, PG_UTF8);
		if (data != key->data)
			*length = strlen(data);
	}
	return data;
}

/*
 * Returns the text form of the i-th id in the server's encoding, terminated,
 * in the current memory context.
 */
static char *
id_text(const IdSet *set, Size i)
{
	const char *data;
	Size		length;

	if (set->form == ID_UUID)
	{
		char	   *form = palloc(UUID_TEXT_LENGTH + 1);

		uuidkey_print(&set->uuids[i], form);
		form[UUID_TEXT_LENGTH] = '\0';
		return form;
	}
	data = server_text(set, i, &length);
	return pnstrdup(data, length);
}

/*
 * Adds a member with the first ids of a set to the DETAIL of an error.
 */
void
idset_detail(StringInfo detail, const char *name, const IdSet *set)
{
	const char *texts[SHOWN_IDS];
	int			count = Min(set->count, SHOWN_IDS);

	for (int i = 0; i < count; i++)
		texts[i] = id_text(set, i);
	detail_texts(detail, name, texts, count);
}

/* A roster hash in progress. */
typedef struct RosterHash
{
	pg_cryptohash_ctx *sha256;
	Size		used;			/* of the block */
	char		block[HASH_BLOCK_SIZE];
} RosterHash;

/*
 * Raises an error for what went wrong in the computing of a hash.
 */
pg_noreturn static void
hash_failed(const RosterHash *hash)
{
	elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(hash->sha256));
}

/*
 * Feeds the bytes that wait in the block.
 */
static void
flush_block(RosterHash *hash)
{
	CHECK_FOR_INTERRUPTS();
	if (pg_cryptohash_update(hash->sha256, (uint8 *) hash->block, hash->used) < 0)
		hash_failed(hash);
	hash->used = 0;
}

/*
 * Feeds bytes, by way of the block.
 */
static inline void
hash_piece(RosterHash *hash, const char *data, Size length)
{
	while (length > HASH_BLOCK_SIZE - hash->used)
	{
		Size		piece = HASH_BLOCK_SIZE - hash->used;

		memcpy(hash->block + hash->used, data, piece);
		hash->used = HASH_BLOCK_SIZE;
		flush_block(hash);
		data += piece;
		length -= piece;
	}
	memcpy(hash->block + hash->used, data, length);
	hash->used += length;
}

/*
 * Returns the roster hash of a set, in the current memory context.  Raises
 * 22023 for a scope with a newline: its second line could as well be the first
 * id.  NULL is the empty scope.
 */
char *
idset_hash(const IdSet *set, text *scope)
{
	RosterHash *hash = palloc(sizeof(RosterHash));
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char	   *hex = palloc(ROSTER_HASH_LENGTH + 1);

	hash->used = 0;
	hash->sha256 = pg_cryptohash_create(PG_SHA256);
	if (pg_cryptohash_init(hash->sha256) < 0)
		hash_failed(hash);

	if (scope != NULL)
	{
		char	   *data = VARDATA_ANY(scope);
		int			length = VARSIZE_ANY_EXHDR(scope);
		char	   *converted;

		if (memchr(data, '\n', length) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the scope of a roster must not contain a newline")));
		converted = pg_server_to_any(data, length, PG_UTF8);
		hash_piece(hash, converted, converted == data ? length : strlen(converted));
	}
	hash_piece(hash, "\n", 1);

	for (Size i = 0; i < set->count; i++)
	{
		if (set->form == ID_UUID)
		{
			if (hash->used > HASH_BLOCK_SIZE - (UUID_TEXT_LENGTH + 1))
				flush_block(hash);
			uuidkey_print(&set->uuids[i], hash->block + hash->used);
			hash->block[hash->used + UUID_TEXT_LENGTH] = '\n';
			hash->used += UUID_TEXT_LENGTH + 1;
		}
		else
			hash_piece(hash, set->texts[i].data, set->texts[i].length + 1);
	}
	flush_block(hash);
	if (pg_cryptohash_final(hash->sha256, digest, sizeof(digest)) < 0)
		hash_failed(hash);
	pg_cryptohash_free(hash->sha256);
	pfree(hash);

	hex[hex_encode((char *) digest, sizeof(digest), hex)] = '\0';
	return hex;
}

/*
 * The size method of the expanded object that a set is: that of a text array.
 * Raises 54000 if it is larger than a value can be.
 */
static Size
flat_size(ExpandedObjectHeader *header)
{
	IdSet	   *set = (IdSet *) header;
	Size		size = ARR_OVERHEAD_NONULLS(set->count == 0 ? 0 : 1);

	if (set->form == ID_UUID)
		size += set->count * INTALIGN(VARHDRSZ + UUID_TEXT_LENGTH);
	else
	{
		for (Size i = 0; i < set->count; i++)
		{
			Size		length;

			(void) server_text(set, i, &length);
			size += INTALIGN(VARHDRSZ + length);
		}
	}
	if (!AllocSizeIsValid(size))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("roster of %zu ids is too large for an array", set->count)));
	return size;
}

/*
 * The method that writes the array, of a size that flat_size has given.
 */
static void
flatten_into(ExpandedObjectHeader *header, void *result, Size size)
{
	IdSet	   *set = (IdSet *) header;
	ArrayType  *array = result;
	char	   *out;

	SET_VARSIZE(array, size);
	array->ndim = set->count == 0 ? 0 : 1;
	array->dataoffset = 0;
	array->elemtype = TEXTOID;
	if (set->count == 0)
		return;
	ARR_DIMS(array)[0] = set->count;
	ARR_LBOUND(array)[0] = 1;

	out = ARR_DATA_PTR(array);
	for (Size i = 0; i < set->count; i++)
	{
		Size		length = UUID_TEXT_LENGTH;

		if (i % INTERRUPT_INTERVAL == 0)
			CHECK_FOR_INTERRUPTS();
		if (set->form == ID_UUID)
			uuidkey_print(&set->uuids[i], out + VARHDRSZ);
		else
		{
			const char *data = server_text(set, i, &length);

			memcpy(out + VARHDRSZ, data, length);
			memset(out + VARHDRSZ + length, 0, INTALIGN(length) - length);
		}
		SET_VARSIZE(out, VARHDRSZ + length);
		out += VARHDRSZ + INTALIGN(length);
	}
}

static const ExpandedObjectMethods idset_methods = {flat_size, flatten_into};

/*
 * Returns the ids, in order, as a value of type text[] that lives as long as
 * the set.  It is made when somebody copies it, a row for instance, so that
 * there is no second copy of what may be many megabytes.
 */
Datum
idset_array(IdSet *set)
{
	EOH_init_header(&set->header, &idset_methods, set->context);
	return EOHPGetRODatum(&set->header);
}

/*
 * Adds the i-th id of another set of the same type.
 */
static void
copy_id(IdSet *set, const IdSet *other, Size i)
{
	reserve_ids(set, 1);
	if (set->form == ID_UUID)
		set->uuids[set->count] = other->uuids[i];
	else
	{
		TextKey    *key = &set->texts[set->count];
		char	   *copy = take_space(set, other->texts[i].length + 1);

		*key = other->texts[i];
		memcpy(copy, key->data, key->length + 1);
		key->data = copy;
	}
	set->count++;
}

/*
 * Returns the ids of a set that another set of the same type does not have,
 * as a finished set below the current memory context.
 */
IdSet *
idset_difference(const IdSet *set, const IdSet *other)
{
	IdSet	   *result = idset_create(set->type, set->typmod);
	Size		j = 0;

	for (Size i = 0; i < set->count; i++)
	{
		int			order = -1;

		if (i % INTERRUPT_INTERVAL == 0)
			CHECK_FOR_INTERRUPTS();
		for (; j < other->count; j++)
		{
			if (set->form == ID_UUID)
				order = uuidkey_compare(&set->uuids[i], &other->uuids[j]);
			else
				order = textkey_compare(&set->texts[i], &other->texts[j]);
			if (order <= 0)
				break;
		}
		if (order == 0)
			j++;
		else
			copy_id(result, set, i);
	}
	return result;
}

/*
 * Tells whether ids of a set that differ as text differ for their type, too.
 * The types in the list are those in common use of which that is known.
 */
bool
idset_text_decides(const IdSet *set, Oid collation)
{
	switch (set->type)
	{
		case UUIDOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case NAMEOID:
		case BOOLOID:
		case BYTEAOID:
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return true;
		case TEXTOID:
		case VARCHAROID:
			return !OidIsValid(collation) || get_collation_isdeterministic(collation);
		default:
			return false;
	}
}

/* An id as a value, and its number in its set. */
typedef struct ValueKey
{
	Datum		value;
	Size		number;
} ValueKey;

/* How ids of a set's type are read again, and compared. */
typedef struct ValueOrder
{
	FmgrInfo   *compare;
	Oid			collation;
	FmgrInfo	input;
	Oid			ioparam;
} ValueOrder;

/*
 * Compares two ValueKeys by their type, for qsort_arg.
 */
static int
compare_values(const void *a, const void *b, void *argument)
{
	ValueOrder *order = argument;

	CHECK_FOR_INTERRUPTS();
	return DatumGetInt32(FunctionCall2Coll(order->compare, order->collation,
										   ((const ValueKey *) a)->value,
										   ((const ValueKey *) b)->value));
}

/*
 * Reads the i-th id of a set again, from its text form.
 */
static ValueKey
read_value_key(const IdSet *set, Size i, ValueOrder *order)
{
	ValueKey	key;

	key.value = InputFunctionCall(&order->input, id_text(set, i), order->ioparam, -1);
	key.number = i;
	return key;
}

/*
 * Sets a flag for each id of a set that an id of another set of the same type
 * equals.  Only the first set is kept as values: it is a difference, and small
 * as a rule.
 */
static void
flag_equal(const IdSet *set, const IdSet *other, ValueOrder *order, bool *flags)
{
	ValueKey   *values = MemoryContextAllocHuge(CurrentMemoryContext, set->count * sizeof(ValueKey));
	MemoryContext caller;

	for (Size i = 0; i < set->count; i++)
		values[i] = read_value_key(set, i, order);
	qsort_arg(values, set->count, sizeof(ValueKey), compare_values, order);

	caller = MemoryContextSwitchTo(other->scratch);
	for (Size i = 0; i < other->count; i++)
	{
		ValueKey	wanted = read_value_key(other, i, order);
		Size		low = 0;
		Size		high = set->count;

		while (low < high)
		{
			Size		middle = low + (high - low) / 2;

			if (compare_values(&values[middle], &wanted, order) < 0)
				low = middle + 1;
			else
				high = middle;
		}
		for (; low < set->count && compare_values(&values[low], &wanted, order) == 0; low++)
			flags[values[low].number] = true;
		MemoryContextReset(other->scratch);
	}
	MemoryContextSwitchTo(caller);
}

/*
 * Removes from a difference the ids that an id of the other set, of the same
 * type, equals for their type, though they differ as text: 1.1 and 1.10 are one
 * numeric.  The collation is the key column's.  Types without an order have no
 * equality but that of their texts.
 */
void
idset_remove_equal(IdSet *difference, const IdSet *other, Oid collation)
{
	TypeCacheEntry *entry;
	ValueOrder	order;
	MemoryContext work;
	MemoryContext caller;
	Oid			function;
	bool	   *flags;
	Size		kept = 0;
	int			level;

	if (difference->count == 0 || other->count == 0 || idset_text_decides(difference, collation))
		return;
	entry = lookup_type_cache(difference->type, TYPECACHE_CMP_PROC_FINFO);
	if (!OidIsValid(entry->cmp_proc_finfo.fn_oid))
		return;

	work = AllocSetContextCreate(CurrentMemoryContext, "petition_cas id values",
								 ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(work);
	check_nested_domains(difference->type, ROSTER_DOMAIN_HINT);
	order.compare = &entry->cmp_proc_finfo;
	order.collation = collation;
	getTypeInputInfo(difference->type, &function, &order.ioparam);
	fmgr_info(function, &order.input);
	flags = MemoryContextAllocExtended(work, difference->count, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	level = text_form_begin(difference->type);
	flag_equal(difference, other, &order, flags);
	text_form_end(level);

	for (Size i = 0; i < difference->count; i++)
	{
		if (!flags[i])
			difference->texts[kept++] = difference->texts[i];
	}
	difference->count = kept;
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(work);
}
