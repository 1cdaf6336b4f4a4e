# The examples of the documentation: each block of SQL or shell is run, in the
# order in which they stand, and what it prints is compared with the block of
# text below it. Each file has a new server and a new database; its SQL is
# one psql session, its shell commands are one bash.
#
# What differs from run to run (@masks) is not compared. A block of SQL or shell
# without a block of text below it must not raise an error. Commands that are not
# to be run are in blocks of another language (console).
#
# To write what is printed now into the files, where it differs, or to run just one
# of them:
#
#	DOCUMENTATION=write DOCUMENTATION_FILE=guarantees prove test/t/040_documentation.pl

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

$ENV{PATH} .= ':/usr/sbin';    # where Debian has PgBouncer
$ENV{DOCUMENTATION} //= '';
$ENV{DOCUMENTATION_FILE} //= '';

my $top = abs_path("$FindBin::Bin/../..");
my @files = ("$top/README.md", "$top/docs/guarantees.md", "$top/docs/operations.md");

# What is replaced by what before two outputs are compared
my @masks = (
	[ qr/\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d(:\d\d)?)?/, 'TIME' ],
	[ qr/"transaction_id": "?\d+"?/, 'XID' ],
	[ qr/\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-(?!0000)[0-9a-f]{12}\b/, 'UUID' ],
	[ qr/\b[0-9a-f]{32}\b/, 'MD5' ],
	[ qr/with PID \d+/, 'with PID N' ],
	[ qr/tuple \(\d+,\d+\)/, 'tuple (N,N)' ],
	[ qr/Time: \d+\.\d+ ms( \([0-9:.]+\))?/, 'Time: N ms' ],
	[ qr/[1-9]\d* of them HOT/, 'some of them HOT' ]);

# --- Reading a file ---------------------------------------------------------

# Returns the blocks of a file, each with its language, its lines without their
# indentation, and where it begins and ends.
sub read_blocks
{
	my ($lines) = @_;
	my @blocks;
	my $block;

	for my $number (0 .. $#$lines)
	{
		my $line = $lines->[$number];

		if (!$block && $line =~ /^( *)```(\w*)$/)
		{
			$block = { indent => $1, language => $2, first => $number + 1, lines => [] };
		}
		elsif ($block && $line =~ /^ *```$/)
		{
			$block->{last} = $number - 1;
			push @blocks, $block;
			undef $block;
		}
		elsif ($block)
		{
			$line =~ s/^$block->{indent}//;
			push @{ $block->{lines} }, $line;
		}
	}
	return @blocks;
}

# What is compared of an output
sub masked
{
	my $text = join "\n", @_;

	$text =~ s/$_->[0]/$_->[1]/g for @masks;
	# a column is as wide as what stood in it
	$text =~ s/ +/ /g;
	$text =~ s/-{3,}/---/g;
	return $text;
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
	return @printed;
}

# Runs the blocks of a file, notes with each block of text what was printed in
# its place, and tests it.
sub test_file
{
	my ($file) = @_;
	my ($name) = $file =~ m{([^/]+)\.md$};
	my @lines = split /\n/, slurp_file($file);
	my @blocks = read_blocks(\@lines);
	my $database = lc $name;
	my $node = PostgreSQL::Test::Cluster->new($database);
	my $folder = PostgreSQL::Test::Utils::tempdir_short();
	my (%session, @printed, $since);

	$node->init(allows_streaming => 'logical');
	$node->append_conf('postgresql.conf', "max_prepared_transactions = 5\nautovacuum = off\nlog_timezone = UTC\ntimezone = UTC\n");
	$node->start;
	$node->psql('postgres', 'CREATE ROLE postgres SUPERUSER LOGIN');
	$node->safe_psql('postgres', "CREATE DATABASE $database");

	my %environment = (
		PGHOST => $node->host, PGPORT => $node->port, PGUSER => 'postgres', PGDATABASE => $database,
		PGOPTIONS => '', PSQLRC => '/dev/null', PSQL_PAGER => 'cat', LC_ALL => 'C.UTF-8', TZ => 'UTC');

	$session{sql} = start_session([ 'psql', '-X' ], \%environment, sub { "\\echo $_[0]" });
	$session{sh} = start_session([ 'bash', '-c', "cd '$folder' && exec bash" ], \%environment, sub { "echo '$_[0]'" });
	for my $block (@blocks)
	{
		my $place = "$name.md, line $block->{first}";

		if ($session{ $block->{language} })
		{
			is_silent(@$since) if $since;
			@printed = run_block($session{ $block->{language} }, @{ $block->{lines} });
			$since = [ $place, @printed ];
		}
		elsif ($block->{language} eq 'text')
		{
			$block->{printed} = [@printed] if masked(@printed) ne masked(@{ $block->{lines} });
			is(masked(@printed), masked(@{ $block->{lines} }), $place);
			undef $since;
		}
	}
	is_silent(@$since) if $since;
	for my $session (values %session)
	{
		$session->{in} .= $session == $session{sql} ? "\\q\n" : "exit\n";
		$session->{run}->finish;
	}
	$node->stop;

	if ($ENV{DOCUMENTATION} eq 'write')
	{
		for my $block (reverse grep { $_->{printed} } @blocks)
		{
			splice @lines, $block->{first}, $block->{last} - $block->{first} + 1,
			  map { $_ eq '' ? '' : $block->{indent} . $_ } @{ $block->{printed} };
		}
		open my $out, '>', $file or die "$file: $!";
		print $out map { "$_\n" } @lines;
		close $out or die "$file: $!";
	}
	return;
}

# Tests that a block whose output is not shown raised no error.
sub is_silent
{
	my ($place, @printed) = @_;

	is(join("\n", grep { /(ERROR|FATAL|error): |: line \d+: / } @printed), '', "$place: no error");
	return;
}

my ($server) = qx(pg_config --version) =~ /(\d+)/;

plan skip_all => 'the documentation shows PostgreSQL 15' if $server != 15;
plan skip_all => 'no pgbouncer here' if system('command -v pgbouncer >/dev/null') != 0;
test_file($_) for grep { index($_, $ENV{DOCUMENTATION_FILE}) >= 0 } @files;

done_testing();
