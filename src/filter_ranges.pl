#!/usr/bin/env perl
# Writes filter_ranges.h: which characters separate the terms of a filter, and
# which may stand in a bare word. They are those of the Unicode that comes with
# Perl, so that a newer Perl makes a newer table:
#
#   perl src/filter_ranges.pl >src/filter_ranges.h
use strict;
use warnings;

use Unicode::UCD;

# The ranges of the code points from 128 on that a pattern matches. ASCII is
# filter_chars.c's own affair.
sub ranges
{
	my ($pattern) = @_;
	my @ranges;

	for my $code (0x80 .. 0x10ffff)
	{
		next if $code >= 0xd800 && $code <= 0xdfff || chr($code) !~ $pattern;
		if (@ranges && $ranges[-1][1] == $code - 1)
		{
			$ranges[-1][1] = $code;
		}
		else
		{
			push @ranges, [ $code, $code ];
		}
	}
	return @ranges;
}

sub print_table
{
	my ($name, $comment, @ranges) = @_;

	print "\n/* $comment */\nstatic const CharacterRange $name\[] = {\n";
	print join(",\n", map { sprintf "\t{0x%04x, 0x%04x}", @$_ } @ranges), "\n};\n";
}

my $version = Unicode::UCD::UnicodeVersion();
print <<"END_OF_HEAD";
/*-------------------------------------------------------------------------
 *
 * filter_ranges.h
 *	  Classes of characters, from Unicode $version.
 *
 * Written by filter_ranges.pl; do not edit.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PETITION_CAS_FILTER_RANGES_H
#define PETITION_CAS_FILTER_RANGES_H

/* Code points, both ends included. */
typedef struct CharacterRange
{
	uint32		first;
	uint32		last;
} CharacterRange;
END_OF_HEAD

print_table('space_ranges', 'White_Space', ranges(qr/\p{White_Space}/));
print_table('word_ranges', 'General_Category L, M and Nd, without Default_Ignorable_Code_Point',
	ranges(qr/(?!\p{Default_Ignorable_Code_Point})[\p{L}\p{M}\p{Nd}]/));
print "\n#endif\t\t\t\t\t\t\t/* PETITION_CAS_FILTER_RANGES_H */\n";
