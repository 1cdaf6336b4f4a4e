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

/* What is fed to SHA-256 at once, and how many uuids fit into it. */
#define HASH_BLOCK_SIZE		65536
#define HASH_BLOCK_UUIDS	(HASH_BLOCK_SIZE / (UUID_TEXT_LENGTH + 1))

/* How many bytes of an id an error shows at most. */
#define SHOWN_ID	200

/* The first and the largest piece of space for texts. */
#define SPACE_MIN			8192
#define SPACE_MAX			(4 * 1024 * 1024)

/* How often loops that call nobody else look for interrupts. */
#define INTERRUPT_INTERVAL	65536

/*
 * An id as text in UTF-8, not terminated.  The prefix is its first eight
 * bytes as a big-endian number, filled with zeros: most comparisons end there.
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
	char	   *space;			/* room for more texts */
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
 * Returns a larger array in place of one that is full, and sets its new
 * capacity; elements is NULL at first.
 */
static void *
grow(IdSet *set, void *elements, Size *capacity, Size at_least, Size element_size)
{
	*capacity = Max(Max(2 * *capacity, 64), at_least);
	if (elements == NULL)
		return MemoryContextAllocHuge(set->context, *capacity * element_size);
	return repalloc_huge(elements, *capacity * element_size);
}

/*
 * Makes room for count more ids.
 */
static void
reserve(IdSet *set, Size more)
{
	Size		needed = set->count + more;

	if (needed <= set->capacity)
		return;
	if (set->form == ID_UUID)
		set->uuids = grow(set, set->uuids, &set->capacity, needed, sizeof(UuidKey));
	else
		set->texts = grow(set, set->texts, &set->capacity, needed, sizeof(TextKey));
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
 * Adds a uuid.
 */
static inline void
add_uuid(IdSet *set, const void *bytes)
{
	if (set->count == set->capacity)
		reserve(set, 1);
	uuidkey_load(&set->uuids[set->count++], bytes);
}

/*
 * Raises 22023 for an id that has a newline, which would make the hash
 * ambiguous.  Of a long id the error shows the beginning.
 */
pg_noreturn static void
newline_in_id(const char *data, Size length)
{
	StringInfoData detail;
	char	   *shown;

	shown = pnstrdup(data, pg_mbcliplen(data, Min(length, 2 * SHOWN_ID), SHOWN_ID));
	detail_begin(&detail);
	detail_text(&detail, "id", shown);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("an id of a roster must not contain a newline"),
			 errdetail_internal("%s", detail_end(&detail))));
}

/*
 * Adds an id by its text form in the server's encoding, which it copies.  Raises
 * 22023 if that has a newline.
 */
static void
add_text(IdSet *set, const char *data, Size length)
{
	TextKey    *key;
	char	   *copy;
	uint64		prefix = 0;

	if (memchr(data, '\n', length) != NULL)
		newline_in_id(data, length);

	if (set->convert)
	{
		char	   *converted = pg_server_to_any(data, length, PG_UTF8);

		if (converted != data)
			length = strlen(converted);
		data = converted;
	}

	if (set->count == set->capacity)
		reserve(set, 1);
	copy = take_space(set, length);
	memcpy(copy, data, length);
	memcpy(&prefix, data, Min(length, sizeof(prefix)));

	key = &set->texts[set->count++];
	key->prefix = pg_ntoh64(prefix);
	key->data = copy;
	key->length = length;
}

/*
 * Adds a number by its decimal form.
 */
static void
add_integer(IdSet *set, Datum id)
{
	char		digits[MAXINT8LEN + 1];
	int64		number;
	int			length;

	if (set->type == INT8OID)
		number = DatumGetInt64(id);
	else if (set->type == INT4OID)
		number = DatumGetInt32(id);
	else
		number = DatumGetInt16(id);
	length = pg_lltoa(number, digits);
	add_text(set, digits, length);
}

/*
 * Keeps a copy of a value for print_values, out of line data included: by
 * then the row that it came from may be gone.
 */
static void
keep_value(IdSet *set, Datum id)
{
	MemoryContext caller = MemoryContextSwitchTo(set->context);

	if (set->nvalues == set->values_capacity)
		set->values = grow(set, set->values, &set->values_capacity,
						   set->nvalues + 1, sizeof(Datum));
	if (set->typlen == -1)
		id = PointerGetDatum(PG_DETOAST_DATUM_COPY(id));
	else
		id = datumCopy(id, set->typbyval, set->typlen);
	set->values[set->nvalues++] = id;
	MemoryContextSwitchTo(caller);
}

/*
 * Adds an id, a value of the set's type.  Raises 22004 for a null, and 22023
 * for a text form with a newline, which may come only with idset_finish.
 */
void
idset_add(IdSet *set, Datum id, bool isnull)
{
	MemoryContext caller;
	text	   *value;

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("an id of a roster must not be null")));

	switch (set->form)
	{
		case ID_UUID:
			add_uuid(set, DatumGetUUIDP(id)->data);
			return;
		case ID_OTHER:
			keep_value(set, id);
			return;
		case ID_INTEGER:
		case ID_TEXT:
			break;
	}

	/* Detoasting and conversion may leave something behind. */
	caller = MemoryContextSwitchTo(set->scratch);
	if (set->form == ID_INTEGER)
		add_integer(set, id);
	else
	{
		value = DatumGetTextPP(id);
		add_text(set, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(set->scratch);
}

/*
 * Adds each element of an array of the set's type; errors as idset_add.
 */
void
idset_add_array(IdSet *set, ArrayType *ids)
{
	int			count = ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids));
	array_iter	iterator;

	reserve(set, count);
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

/*
 * How the elements of an array become ids of a set: as they are, or by their
 * text forms.
 */
typedef struct ElementReader
{
	IdSet	   *set;
	Oid			type;			/* of the elements */
	int16		typlen;
	bool		typbyval;
	char		typalign;
	bool		as_is;			/* values of the set's type, to be added so */
	bool		is_text;		/* their own text forms */
	FmgrInfo	output;			/* of the elements, if not */
	FmgrInfo	input;			/* of the set's type */
	Oid			ioparam;
	FmgrInfo   *equal;			/* of the set's type, or NULL */
} ElementReader;

/*
 * Prepares to read the elements of an array.  Raises 0A000 for a type whose
 * values are not read, see text_form.c.
 */
static void
start_reading(ElementReader *reader, IdSet *set, ArrayType *ids)
{
	int32		typmod = -1;
	Oid			function;
	bool		is_varlena;

	reader->set = set;
	reader->type = text_form_type(ARR_ELEMTYPE(ids), &typmod);
	get_typlenbyvalalign(reader->type, &reader->typlen, &reader->typbyval, &reader->typalign);
	reader->is_text = form_of_type(reader->type) == ID_TEXT;

	/* A length or a precision is part of how an id is read. */
	reader->as_is = set->typmod < 0 &&
		(reader->type == set->type || (reader->is_text && set->form == ID_TEXT));

	check_nested_domains(set->type, ROSTER_DOMAIN_HINT);
	getTypeOutputInfo(reader->type, &function, &is_varlena);
	fmgr_info(function, &reader->output);
	getTypeInputInfo(set->type, &function, &reader->ioparam);
	fmgr_info(function, &reader->input);
	reader->equal = NULL;
	if (set->typmod >= 0)
	{
		TypeCacheEntry *entry = lookup_type_cache(set->type, TYPECACHE_EQ_OPR_FINFO);

		if (OidIsValid(entry->eq_opr_finfo.fn_oid))
			reader->equal = &entry->eq_opr_finfo;
	}
}

/*
 * Reads the text form of an id, with the length or precision of the key if that
 * changes only its form, as 1.1 to 1.10.  An id that it would make another one
 * is read without: 1.104 is not 1.10, and was not seen.
 */
static Datum
read_form(ElementReader *reader, char *form)
{
	int32		typmod = reader->set->typmod;
	Datum		value = InputFunctionCall(&reader->input, form, reader->ioparam, typmod);
	Datum		exact;

	if (reader->equal == NULL)
		return value;
	exact = InputFunctionCall(&reader->input, form, reader->ioparam, -1);
	if (DatumGetBool(FunctionCall2Coll(reader->equal, C_COLLATION_OID, value, exact)))
		return value;
	return exact;
}

/*
 * Adds an element that is not null.
 */
static void
read_element(ElementReader *reader, Datum element)
{
	IdSet	   *set = reader->set;
	MemoryContext caller;
	char	   *form;

	if (reader->as_is)
	{
		idset_add(set, element, false);
		return;
	}
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
	element = read_form(reader, form);
	MemoryContextSwitchTo(caller);
	idset_add(set, element, false);
	MemoryContextReset(set->scratch);
}

/*
 * Error context of idset_read_array: says which element it was reading.
 */
static void
reading_context(void *argument)
{
	errcontext("element %d of the ids that were seen", *(int *) argument + 1);
}

/*
 * Adds each element of an array of any type: its text form, read by the input
 * function of the set's type.  Raises whatever that raises, 0A000 for a type
 * whose values are not read, and as idset_add.
 */
void
idset_read_array(IdSet *set, ArrayType *ids)
{
	int			count = ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids));
	array_iter	iterator;
	ElementReader reader;
	ErrorContextCallback context;
	int			outer;
	int			inner;
	int			i = 0;

	start_reading(&reader, set, ids);
	context.callback = reading_context;
	context.arg = &i;
	context.previous = error_context_stack;
	error_context_stack = &context;

	outer = text_form_begin(set->type);
	inner = text_form_begin(reader.type);
	reserve(set, count);
	array_iter_setup(&iterator, (AnyArrayType *) ids);
	for (; i < count; i++)
	{
		bool		isnull;
		Datum		element = array_iter_next(&iterator, &isnull, i, reader.typlen,
											  reader.typbyval, reader.typalign);

		if (i % INTERRUPT_INTERVAL == 0)
			CHECK_FOR_INTERRUPTS();
		if (isnull)
			idset_add(set, (Datum) 0, true);
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
	reserve(set, set->nvalues);

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
 * Sorts the texts and drops the duplicates.
 */
static void
finish_texts(IdSet *set)
{
	Size		kept = 0;

	textkeys_sort(set->texts, set->count);
	for (Size i = 0; i < set->count; i++)
	{
		if (kept == 0 || textkey_compare(&set->texts[kept - 1], &set->texts[i]) != 0)
			set->texts[kept++] = set->texts[i];
	}
	set->count = kept;
}

/*
 * Makes the set sorted and distinct.  More ids may be added later, after
 * which it must be finished again.
 */
void
idset_finish(IdSet *set)
{
	MemoryContext caller = MemoryContextSwitchTo(set->context);

	if (set->form == ID_UUID)
		set->count = uuidkeys_sort(set->uuids, set->count);
	else
	{
		print_values(set);
		finish_texts(set);
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
char *
idset_text(const IdSet *set, Size i)
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
 * Feeds bytes to SHA-256.
 */
static void
hash_bytes(pg_cryptohash_ctx *hash, const void *data, Size length)
{
	if (pg_cryptohash_update(hash, data, length) < 0)
		elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(hash));
}

/*
 * Feeds a line for each id of a set of uuids.
 */
static void
hash_uuids(pg_cryptohash_ctx *hash, const IdSet *set)
{
	char	   *block = palloc(HASH_BLOCK_SIZE);

	for (Size i = 0; i < set->count;)
	{
		Size		end = Min(set->count, i + HASH_BLOCK_UUIDS);
		char	   *out = block;

		CHECK_FOR_INTERRUPTS();
		for (; i < end; i++)
		{
			uuidkey_print(&set->uuids[i], out);
			out[UUID_TEXT_LENGTH] = '\n';
			out += UUID_TEXT_LENGTH + 1;
		}
		hash_bytes(hash, block, out - block);
	}
	pfree(block);
}

/*
 * Feeds a line for each id of a set of texts, collected into blocks.
 */
static void
hash_texts(pg_cryptohash_ctx *hash, const IdSet *set)
{
	char	   *block = palloc(HASH_BLOCK_SIZE);
	Size		used = 0;

	for (Size i = 0; i < set->count; i++)
	{
		const TextKey *key = &set->texts[i];

		if (used + key->length + 1 > HASH_BLOCK_SIZE)
		{
			CHECK_FOR_INTERRUPTS();
			hash_bytes(hash, block, used);
			used = 0;
		}
		if (key->length + 1 > HASH_BLOCK_SIZE)
		{
			hash_bytes(hash, key->data, key->length);
			hash_bytes(hash, "\n", 1);
			continue;
		}
		memcpy(block + used, key->data, key->length);
		used += key->length;
		block[used++] = '\n';
	}
	hash_bytes(hash, block, used);
	pfree(block);
}

/*
 * Feeds the scope's line; NULL is the empty scope.  Raises 22023 if it has a
 * newline: its second line could as well be the first id.
 */
static void
hash_scope(pg_cryptohash_ctx *hash, text *scope)
{
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
		hash_bytes(hash, converted, converted == data ? length : strlen(converted));
	}
	hash_bytes(hash, "\n", 1);
}

/*
 * Returns the roster hash of a set, in the current memory context.
 */
char *
idset_hash(const IdSet *set, text *scope)
{
	static const char digits[] = "0123456789abcdef";
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char	   *hex = palloc(ROSTER_HASH_LENGTH + 1);

	if (pg_cryptohash_init(hash) < 0)
		elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(hash));
	hash_scope(hash, scope);
	if (set->form == ID_UUID)
		hash_uuids(hash, set);
	else
		hash_texts(hash, set);
	if (pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(hash));
	pg_cryptohash_free(hash);

	for (int i = 0; i < PG_SHA256_DIGEST_LENGTH; i++)
	{
		hex[2 * i] = digits[digest[i] >> 4];
		hex[2 * i + 1] = digits[digest[i] & 0x0f];
	}
	hex[ROSTER_HASH_LENGTH] = '\0';
	return hex;
}

/*
 * Returns the size of the set as a text array.
 */
static Size
array_size(const IdSet *set)
{
	Size		size = ARR_OVERHEAD_NONULLS(1);

	if (set->count == 0)
		return ARR_OVERHEAD_NONULLS(0);
	if (set->form == ID_UUID)
		return size + set->count * INTALIGN(VARHDRSZ + UUID_TEXT_LENGTH);
	for (Size i = 0; i < set->count; i++)
	{
		Size		length;

		(void) server_text(set, i, &length);
		size += INTALIGN(VARHDRSZ + length);
	}
	return size;
}

/*
 * Writes an element of a text array; returns where the next one begins.
 */
static inline char *
put_element(char *out, const char *data, Size length)
{
	Size		size = INTALIGN(VARHDRSZ + length);

	SET_VARSIZE(out, VARHDRSZ + length);
	memcpy(out + VARHDRSZ, data, length);
	memset(out + VARHDRSZ + length, 0, size - VARHDRSZ - length);
	return out + size;
}

/*
 * Writes the ids as the elements of a text array.
 */
static void
put_elements(const IdSet *set, char *out)
{
	for (Size i = 0; i < set->count; i++)
	{
		if (i % INTERRUPT_INTERVAL == 0)
			CHECK_FOR_INTERRUPTS();
		if (set->form == ID_UUID)
		{
			SET_VARSIZE(out, VARHDRSZ + UUID_TEXT_LENGTH);
			uuidkey_print(&set->uuids[i], out + VARHDRSZ);
			out += INTALIGN(VARHDRSZ + UUID_TEXT_LENGTH);
		}
		else
		{
			Size		length;
			const char *data = server_text(set, i, &length);

			out = put_element(out, data, length);
		}
	}
}

/*
 * The size method of the expanded object that a set is.  Raises 54000 if the
 * array is larger than a value can be.
 */
static Size
flat_size(ExpandedObjectHeader *header)
{
	IdSet	   *set = (IdSet *) header;
	Size		size = array_size(set);

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

	SET_VARSIZE(array, size);
	array->ndim = set->count == 0 ? 0 : 1;
	array->dataoffset = 0;
	array->elemtype = TEXTOID;
	if (set->count == 0)
		return;
	ARR_DIMS(array)[0] = set->count;
	ARR_LBOUND(array)[0] = 1;
	put_elements(set, ARR_DATA_PTR(array));
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
 * Compares the i-th id of one set with the j-th of another of the same type.
 */
static inline int
compare_ids(const IdSet *set, Size i, const IdSet *other, Size j)
{
	if (set->form == ID_UUID)
		return uuidkey_compare(&set->uuids[i], &other->uuids[j]);
	return textkey_compare(&set->texts[i], &other->texts[j]);
}

/*
 * Adds the i-th id of another set of the same type.
 */
static void
copy_id(IdSet *set, const IdSet *other, Size i)
{
	reserve(set, 1);
	if (set->form == ID_UUID)
		set->uuids[set->count] = other->uuids[i];
	else
	{
		TextKey    *key = &set->texts[set->count];
		char	   *copy = take_space(set, other->texts[i].length);

		*key = other->texts[i];
		memcpy(copy, key->data, key->length);
		key->data = copy;
	}
	set->count++;
}

/*
 * Compares two sets of the same type: adds to the one result the ids that only
 * the one set has, to the other those that only the other has.  A result may be
 * NULL, if nobody wants it.
 */
static void
add_differences(const IdSet *set, const IdSet *other, IdSet *only_set, IdSet *only_other)
{
	Size		i = 0;
	Size		j = 0;

	for (Size step = 0; i < set->count || j < other->count; step++)
	{
		int			order;

		if (step % INTERRUPT_INTERVAL == 0)
			CHECK_FOR_INTERRUPTS();
		if (i == set->count)
			order = 1;
		else if (j == other->count)
			order = -1;
		else
			order = compare_ids(set, i, other, j);

		if (order < 0 && only_set != NULL)
			copy_id(only_set, set, i);
		if (order > 0 && only_other != NULL)
			copy_id(only_other, other, j);
		i += order <= 0;
		j += order >= 0;
	}
}

/*
 * Returns the ids of a set that another set of the same type does not have,
 * as a finished set below the current memory context.
 */
IdSet *
idset_difference(const IdSet *set, const IdSet *other)
{
	IdSet	   *result = idset_create(set->type, set->typmod);

	add_differences(set, other, result, NULL);
	return result;
}

/*
 * Returns the differences of two sets of the same type, each way: idset_difference
 * of the one and the other, and of the other and the one, in one pass.
 */
void
idset_differences(const IdSet *set, const IdSet *other, IdSet **only_set, IdSet **only_other)
{
	*only_set = idset_create(set->type, set->typmod);
	*only_other = idset_create(set->type, set->typmod);
	add_differences(set, other, *only_set, *only_other);
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
static Datum
value_of(const IdSet *set, Size i, ValueOrder *order)
{
	return InputFunctionCall(&order->input, idset_text(set, i), order->ioparam, -1);
}

/*
 * Finds in sorted values those that equal a value, and clears their flags.
 */
static void
clear_equal(const ValueKey *values, Size count, Datum value, ValueOrder *order, bool *flags)
{
	ValueKey	wanted = {value, 0};
	Size		low = 0;
	Size		high = count;

	while (low < high)
	{
		Size		middle = low + (high - low) / 2;

		if (compare_values(&values[middle], &wanted, order) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < count && compare_values(&values[low], &wanted, order) == 0; low++)
		flags[values[low].number] = false;
}

/*
 * Sets a flag for each id of a set that none of another set of the same type
 * equals.  Only the first set is kept as values: it is a difference, and small
 * as a rule.
 */
static void
flag_unequal(const IdSet *set, const IdSet *other, ValueOrder *order, bool *flags)
{
	ValueKey   *values = MemoryContextAllocHuge(CurrentMemoryContext, set->count * sizeof(ValueKey));
	MemoryContext caller;

	for (Size i = 0; i < set->count; i++)
	{
		values[i].value = value_of(set, i, order);
		values[i].number = i;
		flags[i] = true;
	}
	qsort_arg(values, set->count, sizeof(ValueKey), compare_values, order);

	caller = MemoryContextSwitchTo(other->scratch);
	for (Size i = 0; i < other->count; i++)
	{
		clear_equal(values, set->count, value_of(other, i, order), order, flags);
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
	flags = MemoryContextAllocHuge(work, difference->count);

	level = text_form_begin(difference->type);
	flag_unequal(difference, other, &order, flags);
	text_form_end(level);

	for (Size i = 0; i < difference->count; i++)
	{
		if (flags[i])
			difference->texts[kept++] = difference->texts[i];
	}
	difference->count = kept;
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(work);
}

/*
 * Tells whether a set has every id of another set of the same type.
 */
bool
idset_contains_all(const IdSet *set, const IdSet *other)
{
	IdSet	   *missing = idset_difference(other, set);
	bool		result = missing->count == 0;

	idset_free(missing);
	return result;
}
