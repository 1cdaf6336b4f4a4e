# Each problem that verify_fates and governed_tables name has a repair in
# docs/operations.md, and is shown there: its text is in a table of the chapter
# "Repairing a governed table", and in what a block of that chapter printed, which
# 040_documentation.pl runs: the damage, what verify_fates says of it, the repair. The
# texts are read from the sources.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = abs_path("$FindBin::Bin/../..");

# What no block can show, and why; it is in a table all the same
my %not_shown = (
	'is a virtual generated column' => 'needs PostgreSQL 18',
	'event_triggers is off here' => 'needs PostgreSQL 17',
	'is not colocated with its table' => 'needs a Citus cluster',
	'it is a partition' => 'verify_fates takes no partition',
	'the table that it is a partition of is gone' => 'is so for a moment only');

# What stands for nothing but another text
my %no_text = map { $_ => 1 } '%s', '%s%s', 'relation "%s": %s';

# Returns the arguments of each call of a function or macro in C.
sub calls
{
	my ($source, $name) = @_;
	my @calls;

	while ($source =~ /\b\Q$name\E(\((?:[^()"]|"(?:[^"\\]|\\.)*"|(?1))*\))/g)
	{
		my @arguments = ('');
		my $depth = 0;

		for my $token (substr($1, 1, -1) =~ /("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)'|[^"'])/gs)
		{
			$depth += ($token eq '(') - ($token eq ')');
			if ($token eq ',' && !$depth) { push @arguments, '' }
			else { $arguments[-1] .= $token }
		}
		push @calls, \@arguments;
	}
	return @calls;
}

# Returns the string literals in a piece of C, as one string.
sub literal
{
	my ($text) = @_;

	return join '', map { s/\\(.)/$1/gr } ($text // '') =~ /"((?:[^"\\]|\\.)*)"/g;
}

# Returns the body of a function in C.
sub body_of
{
	my ($source, $name) = @_;

	return $source =~ /^\Q$name\E\(.*?^\}/ms ? $& : die "no function $name";
}

my $soundness = slurp_file("$top/src/soundness.c") =~ s{/\*.*?\*/}{}gsr =~ s/^#define (?:[^\n]*\\\n)*[^\n]*\n//gmr;
my $verify = slurp_file("$top/src/verify.c") =~ s{/\*.*?\*/}{}gsr;
my $state = slurp_file("$top/src/state.c") =~ s{/\*.*?\*/}{}gsr;
my @formats = (
	(map { literal($_->[4]) } calls($soundness, 'add_problem'), calls($soundness, 'add_misfit')),
	(map { 'imprudent: ' . literal($_->[1]) } calls($soundness, 'add_imprudence')),
	(map { literal($_->[0]) } map { calls(body_of($verify, 'describe_disagreement'), $_) } 'pstrdup', 'psprintf'),
	(map { literal($_->[2]) } calls($verify, 'put_problem')),
	(map { literal($_->[0]) } calls(body_of($state, 'state_misfit'), 'psprintf')),
	# find_trigger_problem puts these behind the name of the trigger
	(map { "trigger \"%s\" of relation \"%s\" $_" } body_of($soundness, 'find_trigger_problem') =~ /\bwhat = "([^"]+)"/g));
my %seen;
@formats = grep { $_ ne '' && !$no_text{$_} && !$seen{$_}++ } @formats;
cmp_ok(scalar @formats, '>', 55, 'the sources have problems');

# Returns a regular expression for the texts of a format.
sub pattern
{
	my ($format) = @_;

	return join '.+?', map { quotemeta } split /%s/, $format, -1;
}

my ($chapter) = slurp_file("$top/docs/operations.md") =~ /^(## Repairing a governed table\n.*?)(?=^## |\z)/ms;
my $tables = join "\n", $chapter =~ /^\|.*\|$/gm;
my $outputs = join "\n", $chapter =~ /^```text\n(.*?)^```$/gms;

for my $format (@formats)
{
	my $pattern = pattern($format);
	my ($why) = map { $not_shown{$_} } grep { index($format, $_) >= 0 } sort keys %not_shown;

	like($tables, qr/$pattern/, "a table has: $format");
	next if defined $why;
	like($outputs, qr/$pattern/, "a block shows: $format");
}

done_testing();
