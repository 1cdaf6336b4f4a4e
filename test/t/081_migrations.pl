# docs/migrations.md: each section of the page that has blocks is a project with one tool,
# made of the files that the page shows and run by the commands that it shows, in a
# database of its own; what these print is compared with the blocks below them. A tool
# that is not here is left out, by name.
#
# In a section,
#
#	<!-- file: orders/models.py -->	the block below it is a file of the project; a
#				later one of the same name replaces it
#	sh, console		for bash -e, in the project's folder; it has to succeed
#	sql			for psql
#	text		what the block before it printed, all of it
#
# and a block after <!-- not run: REASON --> is only read. What the page need not show
# comes from the folder migrations/SECTION beside this file: the tool's own
# scaffolding, and in a file environment what the shell is told before its commands.
# DATABASE_URL is there for all. At the end of each section all that is governed in its
# database has to be whole.
#
# To write what is printed now into the page, or to run one section:
#
#	MIGRATIONS=write MIGRATIONS_SECTION=Django prove test/t/081_migrations.pl

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib $FindBin::Bin;
use Page;

$ENV{MIGRATIONS} //= '';
$ENV{MIGRATIONS_SECTION} //= '';

# Whether packages of npm are here, and are for this node
sub npm
{
	return q{cd "${NODE_PATH%%:*}" && node -e 'for (const name of process.argv.slice(1)) {
		const { engines } = JSON.parse(fs.readFileSync(`${name}/package.json`));
		if (engines?.node && !require("semver").satisfies(process.version, engines.node)) process.exit(1); }' } . join ' ', @_;
}

# What each section needs. A section that is not here may not have blocks.
my %needs = (
	SQLAlchemy => 'python3 -c "import sqlalchemy, psycopg2, pytest"',
	Alembic => 'python3 -c "import alembic, psycopg2"',
	Django => 'python3 -c "import django, psycopg2, pytest_django"',
	Rails => 'ruby -e "require %q(pg); require %q(active_record/railtie); require %q(database_cleaner)"',
	Sequelize => npm(qw(sequelize sequelize-cli pg)),
	TypeORM => npm(qw(typeorm pg)),
	Knex => npm(qw(knex pg)),
	Drizzle => npm(qw(drizzle-orm drizzle-kit pg)),
	Prisma => npm(qw(prisma @prisma/client @prisma/adapter-pg @prisma/schema-engine-wasm)));

my $page = abs_path("$FindBin::Bin/../../docs/migrations.md");
my $node = PostgreSQL::Test::Cluster->new('migrations');
$node->init;
$node->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'\ntimezone = UTC\n");
$node->start;
$node->psql('postgres', 'CREATE ROLE postgres SUPERUSER LOGIN');

my $bin = PostgreSQL::Test::Utils::tempdir();
mkdir "$bin/home";
symlink '/usr/bin/python3', "$bin/python3";    # Debian's, which has Debian's modules
local %ENV = (%ENV, PGHOST => '127.0.0.1', PGPORT => $node->port, PGUSER => 'postgres', PGSSLMODE => 'disable', TZ => 'UTC',
	PATH => "$bin:$ENV{PATH}", HOME => "$bin/home", LC_ALL => 'C.UTF-8', PSQLRC => '/dev/null', PYTHONDONTWRITEBYTECODE => '1',
	npm_config_update_notifier => 'false');
delete @ENV{qw(PGAPPNAME PGOPTIONS)};
my $packages = $ENV{NODE_PATH} // '';
$ENV{NODE_PATH} = join ':', grep { $_ } $packages, '/usr/share/nodejs';

# Runs a command in a folder; returns whether it succeeded, and what it printed.
sub run_in
{
	my ($folder, $input, @command) = @_;
	my $out = '';
	my $ok = IPC::Run::run([ 'bash', '-c', 'cd "$0" && exec "$@"', $folder, @command ], '<', \$input, '>&', \$out, IPC::Run::timeout(180));

	return ($ok, $out);
}

# Runs a block of commands; returns whether it succeeded, and the lines that it printed.
sub run_block
{
	my ($folder, $tag, @lines) = @_;
	my $text = join '', map { "$_\n" } @lines;
	my ($ok, $out) = $tag eq 'sql' ? run_in($folder, $text, 'psql', '-X') :
	  run_in($folder, '', 'bash', '-e', '-c', "[ ! -e environment ] || { set -a; . ./environment; set +a; }\n$text");
	my @printed = split /\n/, $out;

	s/\s+$// for @printed;
	return ($ok, \@printed);
}

sub write_file
{
	my ($folder, $name, @lines) = @_;
	my ($parent) = $name =~ m{^(.*)/};

	system('mkdir', '-p', "$folder/$parent") == 0 or die 'mkdir' if $parent;
	open my $out, '>', "$folder/$name" or die "$name: $!";
	print $out map { "$_\n" } @lines;
	close $out or die "$name: $!";
	return;
}

# Runs the blocks of a section; those of output that differ keep the lines to be written.
sub test_section
{
	my ($title, @blocks) = @_;
	my $name = lc $title =~ s/\W+/_/gr;
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my $printed;
	my $number = 0;

	local $ENV{PGDATABASE} = $name;
	local $ENV{DATABASE_URL} = "postgresql://postgres\@127.0.0.1:$ENV{PGPORT}/$name";
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	system('cp', '-r', "$FindBin::Bin/migrations/$name/.", $folder) == 0 or die 'cp' if -d "$FindBin::Bin/migrations/$name";
	# Node's modules are looked for beside the program, too, and by some tools only there.
	symlink $packages, "$folder/node_modules" if $packages && -d $packages;
	for my $block (@blocks)
	{
		my $place = "$title, line $block->{first}";
		my @lines = @{ $block->{lines} };

		if ($block->{before} =~ /^<!-- file: (\S+) -->$/)
		{
			write_file($folder, $1, @lines);
		}
		elsif ($block->{before} =~ /^<!-- not run: \S.* -->$/)
		{
			note("$place: not run");
		}
		elsif ($block->{tag} eq 'text')
		{
			ok($printed, "$place: an output of something") or next;
			is(masked(@$printed), masked(@lines), $place);
			$block->{printed} = $printed if masked(@$printed) ne masked(@lines);
			undef $printed;
		}
		elsif ($block->{tag} =~ /^(sh|console|sql)$/)
		{
			my $ok;

			is_deeply($printed // [], [], "$place: what was printed before is shown");
			($ok, $printed) = run_block($folder, $block->{tag}, @lines);
			ok($ok, "$place: succeeds") or diag(join "\n", @$printed);
			$number++;
		}
		else
		{
			fail("$place: nothing runs '$block->{tag}'");
		}
	}
	is_deeply($printed // [], [], "$title: what was printed last is shown");
	cmp_ok($number, '>', 0, "$title: commands were run");
	isnt($node->safe_psql($name, 'SELECT count(*) FROM governed_tables()'), 0, "$title: something is governed");
	is($node->safe_psql($name, 'SELECT relation, problems FROM governed_tables() WHERE problems <> $${}$$'), '', "$title: and whole");
	is($node->safe_psql($name, 'SELECT g.relation, v.* FROM governed_tables() g, verify_fates(g.relation) v'), '', "$title: and so are its fates");
	return;
}

my @lines = split /\n/, slurp_file($page);
my @blocks = read_blocks(\@lines);
my (@run, @missing);

for my $number (grep { $lines[$_] =~ /^## / } 0 .. $#lines)
{
	my ($title) = $lines[$number] =~ /^## (.*)/;
	my ($next) = grep { $lines[$_] =~ /^## / } $number + 1 .. $#lines;
	my @of_section = grep { $_->{first} > $number && (!defined $next || $_->{first} < $next) } @blocks;

	next if !@of_section || index($title, $ENV{MIGRATIONS_SECTION}) < 0;
	ok($needs{$title}, "$title: it is known what it needs") or next;
	if (!(run_in($bin, '', 'bash', '-c', $needs{$title}))[0])
	{
		push @missing, $title;
		next;
	}
	push @run, $title;
	test_section($title, @of_section);
}
write_page($page, \@lines, @blocks) if $ENV{MIGRATIONS} eq 'write';
diag('figures: run: ' . (join(', ', @run) || 'none') . (@missing ? '; not here: ' . join(', ', @missing) : ''));
$node->stop('fast');
done_testing();
