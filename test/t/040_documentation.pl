# The examples of the documentation: README.md and the other pages beside it,
# docs/ and the examples' README.md (those of the clients have 080_clients.pl, and
# docs/migrations.md has 081_migrations.pl). Every
# block of a page is run, in the order in which they stand, and what it prints is
# compared with the block below it.
#
# The tag of a block says what it is:
#
#	sql			for psql, one session a page
#	sh, console		for bash, one a page, in a folder that has copies of the files
#				beside the page
#	python, js		a whole program
#	conf			settings of the page's server, from its start
#	text, json, mermaid	what the block before it printed, all of it
#	signature		a function, an aggregate or a type as it is declared in the
#				extension's script
#
# A block of commands without an output below it must not raise an error. What
# cannot be run or compared has the reason on the line before it:
#
#	<!-- not run: needs a second machine -->
#
# A block that is none of these is an error, and so is an indented one, which has
# no tag. A block that needs a program which is not here (@programs) is skipped, with
# its output. What differs from run to run is not compared (@masks).
#
# Each page has a new server with a database named after it, in which the user
# postgres is a superuser; it accepts replication, logical replication included. To
# write what is printed now into the pages, where it differs, or to run just one of
# them:
#
#	DOCUMENTATION=write DOCUMENTATION_FILE=guarantees prove test/t/040_documentation.pl

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename;
use File::Copy;
use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib $FindBin::Bin;
use Page;

$ENV{PATH} .= ':/usr/sbin';    # where Debian has PgBouncer
$ENV{DOCUMENTATION} //= '';
$ENV{DOCUMENTATION_FILE} //= '';

my $top = abs_path("$FindBin::Bin/../..");

# How many blocks may be marked as not run, in all
my $most_not_run = 31;

my %output = map { $_ => 1 } qw(text json mermaid);
my %program = (python => 'python3', js => 'node');
my @programs = (values %program, 'pgbouncer');
my %is_here = map { $_ => system("command -v $_ >/dev/null") == 0 } @programs;

# --- Judging it -------------------------------------------------------------

# Judges the blocks of a page, which $run runs: it gets a tag and lines, and
# returns a reference to the lines that were printed, the name of a program that is
# missing, or undef if it does not know the tag. Returns references to what is to be
# compared, each with what it is, what was printed and what is expected, and to the
# numbers of blocks that were run and marked as not run, and why others were skipped.
# A block of output that differs keeps the lines to be written.
sub judge
{
	my ($run, @blocks) = @_;
	my @checks;
	my %count = (run => 0, not_run => 0, skipped => []);
	my ($printed, $silent);

	for my $block (@blocks)
	{
		my $place = "line $block->{first}";
		my @lines = @{ $block->{lines} };
		my $before = $printed;

		undef $printed;
		if ($output{ $block->{tag} } && $before)
		{
			undef $silent;
			next if !ref $before;
			push @checks, [ $place, masked(@$before), masked(@lines) ];
			$block->{printed} = $before if $checks[-1][1] ne $checks[-1][2];
			next;
		}
		push @checks, $silent if $silent;
		undef $silent;
		if (!defined $block->{last})
		{
			push @checks, [ $place, 'a block that does not end', '' ];
		}
		elsif ($block->{before} =~ /^ *<!-- not run: \S.* -->$/)
		{
			$count{not_run}++;
		}
		elsif ($output{ $block->{tag} })
		{
			push @checks, [ $place, 'an output of nothing', '' ];
		}
		elsif (!($printed = $run->($block->{tag}, @lines)))
		{
			push @checks, [ $place, $block->{tag} ? "nothing runs '$block->{tag}'" : 'a block without a tag', '' ];
		}
		elsif (ref $printed)
		{
			$count{run}++;
			$silent = [ "$place: no error", join("\n", grep { /(ERROR|FATAL|[Ee]rror): |: line \d+: / } @$printed), '' ];
		}
		else
		{
			push @{ $count{skipped} }, "$place: no $printed here";
		}
	}
	push @checks, $silent if $silent;
	return (\@checks, \%count);
}

# --- Running it -------------------------------------------------------------

# Starts a program that reads commands; mark makes a command of it that prints a
# text.
sub start_session
{
	my ($command, $environment, $mark) = @_;
	my $session = { in => '', out => '', mark => $mark, number => 0 };
	local @ENV{ keys %$environment } = values %$environment;

	$session->{timer} = IPC::Run::timer(300);
	$session->{run} = IPC::Run::start($command, '<', \$session->{in}, '>&', \$session->{out}, $session->{timer});
	return $session;
}

# Gives a program the lines of a block and returns what it printed.
sub run_block
{
	my ($session, @lines) = @_;
	my $end = 'end of block ' . ++$session->{number};

	$session->{out} = '';
	$session->{in} .= join '', map { "$_\n" } @lines, $session->{mark}->($end);
	$session->{timer}->start(300);
	$session->{run}->pump until $session->{out} =~ s/(?:^|\n)?\Q$end\E\n\z//;
	my @printed = split /\n/, $session->{out};
	s/\s+$// for @printed;
	pop @printed while @printed && $printed[-1] eq '';
	return \@printed;
}

# A declaration without what does not matter in it
sub squeezed
{
	my ($text) = @_;

	$text =~ s/\s+/ /g;
	$text =~ s/(?<=\() | (?=\))//g;
	return $text;
}

# Whether the extension's script declares what the lines say; as an output, none if
# it does.
sub declared
{
	my $signature = squeezed(join ' ', @_);
	my $script = squeezed(slurp_file("$top/sql/petition_cas--1.0.sql"));

	return $script =~ /\bCREATE (FUNCTION |AGGREGATE |)\Q$signature\E/ ? [] : ["ERROR: not declared: $signature"];
}

# Starts a server for a page, with a session of psql and one of bash.
sub start_server
{
	my ($file, @settings) = @_;
	my $database = lc basename($file, '.md');
	my $node = PostgreSQL::Test::Cluster->new(basename(dirname($file)) . "_$database");
	my $folder = PostgreSQL::Test::Utils::tempdir_short();
	my %environment = (
		PGHOST => $node->host, PGPORT => $node->port, PGUSER => 'postgres', PGDATABASE => $database,
		PGOPTIONS => '', PSQLRC => '/dev/null', PSQL_PAGER => 'cat', LC_ALL => 'C.UTF-8', TZ => 'UTC');

	$node->init(allows_streaming => 'logical');
	$node->append_conf('postgresql.conf', "$_\n")
	  for 'autovacuum = off', 'log_timezone = UTC', 'timezone = UTC', @settings;
	$node->start;
	$node->psql('postgres', 'CREATE ROLE postgres SUPERUSER LOGIN');
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	copy($_, $folder) for grep { -f } glob dirname($file) . '/*';
	return {
		node => $node,
		psql => start_session([ 'psql', '-X' ], \%environment, sub { "\\echo $_[0]" }),
		bash => start_session([ 'bash', '-c', "cd '$folder' && exec bash" ], \%environment, sub { "echo '$_[0]'" }) };
}

sub stop_server
{
	my ($server) = @_;

	$server->{psql}{in} .= "\\q\n";
	$server->{bash}{in} .= "exit\n";
	$server->{$_}{run}->finish for qw(psql bash);
	$server->{node}->stop;
	return;
}

# Runs the blocks of a page and tests what they print; returns how many are marked as
# not run.
sub test_page
{
	my ($file) = @_;
	my $name = substr $file, length("$top/");
	my @lines = split /\n/, slurp_file($file);
	my @blocks = read_blocks(\@lines);
	my @settings = map { @{ $_->{lines} } } grep { $_->{tag} eq 'conf' } @blocks;
	my $server;

	my $run = sub {
		my ($tag, @block) = @_;
		my @needed = $program{$tag} // ($tag =~ /^(sh|console)$/ ? map { /^(\w+)/ } @block : ());
		my ($missing) = grep { exists $is_here{$_} && !$is_here{$_} } @needed;

		return $missing if $missing;
		return [] if $tag eq 'conf';
		return declared(@block) if $tag eq 'signature';
		return if $tag !~ /^(sql|sh|console)$/ && !$program{$tag};
		# psql would wait for the rest of it
		return ['ERROR: a statement does not end'] if $tag eq 'sql' && $block[-1] !~ /;( *--.*)?$|\\[a-z.]/;
		$server //= start_server($file, @settings);
		return run_block($server->{psql}, @block) if $tag eq 'sql';
		@block = ("$program{$tag} - <<'END OF PROGRAM'", @block, 'END OF PROGRAM') if $program{$tag};
		return run_block($server->{bash}, @block);
	};
	my ($checks, $count) = judge($run, @blocks);

	is($_->[1], $_->[2], "$name, $_->[0]") for @$checks;
	stop_server($server) if $server;
	write_page($file, \@lines, @blocks) if $ENV{DOCUMENTATION} eq 'write';
	diag(join ', ', "figures: $name: $count->{run} blocks run", "$count->{not_run} marked as not run", @{ $count->{skipped} }) if @blocks;
	return $count->{not_run};
}

# --- What this test would notice --------------------------------------------

# Judges a page whose commands are sql, which prints its own lines, and js, for which
# there is no node; returns what is wrong with it.
sub wrong_with
{
	my ($page) = @_;
	my $run = sub { my $tag = shift; return $tag eq 'sql' ? [@_] : $tag eq 'js' ? 'node' : undef };
	my ($checks) = judge($run, read_blocks([ split /\n/, $page ]));

	return join '; ', map { "$_->[0]: $_->[1]" } grep { $_->[1] ne $_->[2] } @$checks;
}

is(wrong_with("```sql\n1\n```\n\n```text\n1\n```"), '', 'a page that is right');
is(wrong_with("```sql\n2026-01-01 10:00:00\n```\n\n```text\n2025-01-01 11:00:00.1\n```"), '', 'what varies is not compared');
is(wrong_with("```sql\n1\n```\n\n```text\n2\n```"), 'line 5: 1', 'a wrong output');
is(wrong_with("```sql\n1\n```\n\nand\n\n```text\n```"), 'line 7: 1', 'a missing output');
is(wrong_with("```sql\nERROR: no\n```\n\nand\n"), 'line 1: no error: ERROR: no', 'an error that is not shown');
is(wrong_with("```text\n1\n```"), 'line 1: an output of nothing', 'an output without a command');
is(wrong_with("```sql\n1\n```\n\n```text\n1\n```\n\n```text\n1\n```"), 'line 9: an output of nothing', 'a second output');
is(wrong_with("```cobol\nSTOP RUN.\n```"), "line 1: nothing runs 'cobol'", 'a block that is neither run nor marked');
is(wrong_with("<!-- not run: needs a mainframe -->\n```cobol\nSTOP RUN.\n```"), '', 'a block that is marked');
is(wrong_with("<!-- not run: -->\n```cobol\nSTOP RUN.\n```"), "line 2: nothing runs 'cobol'", 'a mark without a reason');
is(wrong_with("- an item\n\n  ```\n  1\n  ```"), 'line 3: a block without a tag', 'a block without a tag');
is(wrong_with("It says\n\n    1\n"), 'line 3: a block without a tag', 'an indented block');
is(wrong_with("- an item\n\n    of two paragraphs"), '', 'an indented paragraph of a list');
is(wrong_with("```sql\n1\n"), 'line 1: a block that does not end', 'a block that does not end');
is(wrong_with("```js\n1\n```\n\n```text\n2\n```"), '', 'a block whose program is missing');
is_deeply(declared('is_fate(relation regclass, state text,', '    state_column name DEFAULT NULL) RETURNS boolean'), [], 'a signature');
isnt(scalar(@{ declared('is_fate(relation regclass, state text, state_column name DEFAULT NULL) RETURNS text') }), 0, 'a wrong signature');

# --- The pages --------------------------------------------------------------

my ($version) = qx(pg_config --version) =~ /(\d+)/;
my @pages = grep { index($_, $ENV{DOCUMENTATION_FILE}, length $top) >= 0 && !m{/docs/migrations\.md$} }
  glob "$top/README.md $top/docs/*.md $top/examples/*/README.md";
my $not_run = 0;

if ($version != 15)
{
	diag('skipped: the documentation shows PostgreSQL 15');
}
else
{
	$not_run += test_page($_) for @pages;
	cmp_ok($not_run, '<=', $most_not_run, 'few blocks are not run');
}

done_testing();
