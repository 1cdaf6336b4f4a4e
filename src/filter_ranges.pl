#!/usr/bin/env perl
# Writes filter_ranges.h: which characters separate the terms of a filter, and
# which may stand in a bare word. They are those of the Unicode that comes with
# Perl, so that a newer Perl makes a newer table:
#
#   perl src/filter_ranges.pl >src/filter_ranges.h
use strict;
use warnings;

use Text::Wrap;
use Unicode::UCD;

$Text::Wrap::columns = 100;
$Text::Wrap::unexpand = 0;

# Prints the code points from 128 on that a pattern matches. ASCII is filter.c's
# own affair.
sub print_class
{
	my ($name, $comment, $pattern) = @_;
	my @runs = (0x80);
	my $inside = '';

	for my $code (0x80 .. 0x10ffff)
	{
		my $is = ($code < 0xd800 || $code > 0xdfff) && chr($code) =~ $pattern;
		push @runs, 0 if $is ne $inside;
		$runs[-1]++;
		$inside = $is;
	}
	pop @runs if !$inside;
	print "\n/* $comment */\nstatic const uint16 $name\[] = {\n", wrap("\t", "\t", join ', ', @runs), "\n};\n";
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

/*
 * Each class is the lengths of runs of code points from 0 on: of those outside
 * of it and of those in it, in turn.
 */
END_OF_HEAD

print_class('space_ranges', 'White_Space', qr/\p{White_Space}/);
print_class('word_ranges', 'General_Category L, M and Nd, without Default_Ignorable_Code_Point',
	qr/(?!\p{Default_Ignorable_Code_Point})[\p{L}\p{M}\p{Nd}]/);
print "\n#endif\t\t\t\t\t\t\t/* PETITION_CAS_FILTER_RANGES_H */\n";
