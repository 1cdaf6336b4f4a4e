/*-------------------------------------------------------------------------
 *
 * text_form.c
 *	  The text forms of values: which type's functions read and print them,
 *	  and under which settings.
 *
 * Text becomes a value by the input function of a base type.  That of a
 * domain would call the functions in the domain's constraints, with the rights
 * of whoever is reading, and anybody may make a domain.  Where a type has such
 * a domain inside, and its input function would get there by itself, values of
 * the type are not read at all.
 *
 * Many types read and print according to settings.  Between text_form_begin
 * and text_form_end these have fixed values, so that a text means the same
 * value, and a value has the same text, in every session.  Nothing else may
 * happen in between, no planning above all: the search_path is one of them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "errors.h"
#include "text_form.h"

/*
 * Returns the type whose functions read and print values of a type: of a
 * domain its base type, of an array of a domain the array of its base type.
 * Values need no conversion, but an array has its element type in it.  The
 * typmod becomes that of the domain, if it was -1.
 */
Oid
text_form_type(Oid type, int32 *typmod)
{
	Oid			base = getBaseTypeAndTypmod(type, typmod);
	Oid			element = get_element_type(base);
	Oid			plain;
	Oid			array;

	if (!OidIsValid(element))
		return base;
	plain = text_form_type(element, typmod);
	if (plain == element)
		return base;

	/* Arrays themselves have no array type. */
	array = get_array_type(plain);
	return OidIsValid(array) ? array : base;
}

/*
 * Returns a domain with constraints in a type, which may be the type itself,
 * or InvalidOid if there is none.
 */
static Oid
constrained_domain(Oid type)
{
	TupleDesc	columns;
	Oid			found = InvalidOid;

	check_stack_depth();
	switch (get_typtype(type))
	{
		case TYPTYPE_DOMAIN:
			return DomainHasConstraints(type) ? type : constrained_domain(getBaseType(type));
		case TYPTYPE_RANGE:
			return constrained_domain(get_range_subtype(type));
		case TYPTYPE_MULTIRANGE:
			return constrained_domain(get_multirange_range(type));
		case TYPTYPE_COMPOSITE:
			columns = lookup_rowtype_tupdesc_copy(type, -1);
			for (int i = 0; i < columns->natts && !OidIsValid(found); i++)
			{
				if (!TupleDescAttr(columns, i)->attisdropped)
					found = constrained_domain(TupleDescAttr(columns, i)->atttypid);
			}
			FreeTupleDesc(columns);
			return found;
		default:
			type = get_element_type(type);
			return OidIsValid(type) ? constrained_domain(type) : InvalidOid;
	}
}

/*
 * Raises 0A000 for a type, one that text_form_type has returned, that contains
 * a domain with constraints: reading a value would run functions in them.  hint
 * says what works instead.
 */
void
check_nested_domains(Oid type, const char *hint)
{
	Oid			culprit = constrained_domain(type);
	StringInfoData detail;

	if (!OidIsValid(culprit))
		return;
	detail_begin(&detail);
	detail_text(&detail, "type", format_type_be(type));
	detail_text(&detail, "domain", format_type_be(culprit));
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot read values of type %s, because it contains domain %s, whose constraints would be checked",
					format_type_be(type), format_type_be(culprit)),
			 errdetail_internal("%s", detail_end(&detail)),
			 errhint("%s", hint)));
}

/*
 * Tells whether a type, one that text_form_type has returned, reads or prints
 * according to settings.  The types in the list do not, of those in common use.
 */
static bool
depends_on_settings(Oid type)
{
	switch (type)
	{
		case BOOLOID:
		case CHAROID:
		case NAMEOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case UUIDOID:
		case OIDOID:
			return false;
		default:
			return get_typtype(type) != TYPTYPE_ENUM;
	}
}

/*
 * Opens a level of settings under which the types read and print the same in
 * every session, if a type depends on them.  Returns it for text_form_end, 0
 * if there is none.  An error ends the level with the (sub)transaction.
 *
 * pg_temp is named so that it comes last.  quote_all_identifiers is for
 * regclass and its kin, array_nulls for arrays, xmloption for xml.
 */
int
text_form_begin(Oid type)
{
	static const char *const settings[][2] = {
		{"DateStyle", "ISO, MDY"},
		{"TimeZone", "UTC"},
		{"timezone_abbreviations", "Default"},
		{"IntervalStyle", "postgres"},
		{"extra_float_digits", "1"},
		{"bytea_output", "hex"},
		{"lc_monetary", "C"},
		{"search_path", "pg_catalog, pg_temp"},
		{"quote_all_identifiers", "off"},
		{"array_nulls", "on"},
		{"xmloption", "content"}
	};
	int			level;

	if (!depends_on_settings(type))
		return 0;

	/* As a function's SET clause does it: allowed in parallel workers too. */
	level = NewGUCNestLevel();
	for (int i = 0; i < lengthof(settings); i++)
	{
		const char *present = GetConfigOption(settings[i][0], false, false);

		if (present == NULL || strcmp(present, settings[i][1]) != 0)
			(void) set_config_option(settings[i][0], settings[i][1],
									 PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_SAVE, true, 0, false);
	}
	return level;
}

/*
 * Ends a level, if there is one.
 */
void
text_form_end(int level)
{
	if (level != 0)
		AtEOXact_GUC(true, level);
}

/*
 * Returns whether a text is a SHA-256 in lower-case hexadecimal.
 */
bool
is_sha256(const char *text)
{
	return strlen(text) == 2 * PG_SHA256_DIGEST_LENGTH &&
		strspn(text, "0123456789abcdef") == 2 * PG_SHA256_DIGEST_LENGTH;
}
