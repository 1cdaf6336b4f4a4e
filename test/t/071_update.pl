# The update of the extension to another version, under a running server, as an
# upgrade of the package and ALTER EXTENSION ... UPDATE do it: each object is then as
# a new installation has it, and governed tables have gone on, at every step.
#
# Each version that has a script to begin with and a way to the present one is tried.
# As long as there is none, the next one is made up here: it is the present one under
# another number, which all its comments have, and with a function more; the script that
# leads there replaces all functions.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

my $config = $ENV{PG_CONFIG} // 'pg_config';
my $folder = PostgreSQL::Test::Utils::tempdir();
my $source = "$folder/source";
my $stage = "$folder/stage";

# --- Versions ---------------------------------------------------------------

# What is built is not built again.
system_or_bail('cp', '-a', "$FindBin::Bin/../..", $source);

my ($present) = slurp_file("$source/petition_cas.control") =~ /^default_version = '(.*)'/m;
my @updates = glob "$source/sql/petition_cas--*--$present.sql";

# Writes the scripts of a version that is made up.
sub make_up
{
	my ($version) = @_;
	my $script = slurp_file("$source/sql/petition_cas--$present.sql")
	  . "\nCREATE FUNCTION made_up() RETURNS text LANGUAGE sql RETURN '$version';\n";

	$script =~ s/^(COMMENT ON [^;]* IS\n'.*)';$/$1 ($version)';/mg;
	my $update = $script =~ s/CREATE EXTENSION petition_cas/ALTER EXTENSION petition_cas UPDATE/r;

	$update =~ s/^CREATE FUNCTION/CREATE OR REPLACE FUNCTION/mg;
	$update =~ s/^CREATE (?:TYPE|AGGREGATE|EVENT TRIGGER) .*?;\n//smg;
	append_to_file("$source/sql/petition_cas--$version.sql", $script);
	append_to_file("$source/sql/petition_cas--$present--$version.sql", $update);
	return;
}

if (!@updates)
{
	my $next = $present =~ s/(\d+)$/$1 + 1/er;

	make_up($next);
	@updates = ("$source/sql/petition_cas--$present--$next.sql");
	$present = $next;
}

# Installs the extension where the server finds it, with a version that CREATE
# EXTENSION creates.
sub install_version
{
	my ($version) = @_;
	my $control = slurp_file("$source/petition_cas.control") =~ s/^default_version = .*$/default_version = '$version'/mr;

	unlink "$source/petition_cas.control";
	append_to_file("$source/petition_cas.control", $control);
	system_or_bail('make', '-s', '-C', $source, "PG_CONFIG=$config", 'install', "DESTDIR=$stage");
	return;
}

# --- What there is ----------------------------------------------------------

# All there is to know about the extension and its objects, as text.
my $objects = q{
	SELECT 'extension', extversion, extrelocatable, extnamespace::regnamespace, extconfig, extcondition, obj_description(oid, 'pg_extension')
	FROM pg_extension WHERE extname = 'petition_cas';
	SELECT i.type, i.identity, obj_description(objid, d.classid::regclass::name),
		(SELECT ROW(pg_get_userbyid(proowner), proacl, proargnames, provolatile, proisstrict, proparallel, CASE WHEN prokind <> 'a' THEN pg_get_functiondef(oid) END) FROM pg_proc WHERE oid = objid AND d.classid = 'pg_proc'::regclass),
		(SELECT a FROM pg_aggregate a WHERE aggfnoid = objid AND d.classid = 'pg_proc'::regclass),
		(SELECT ROW(pg_get_userbyid(typowner), typacl, (SELECT array_agg(ROW(attname, format_type(atttypid, atttypmod), attcollation::regcollation) ORDER BY attnum)
			FROM pg_attribute WHERE attrelid = typrelid AND NOT attisdropped)) FROM pg_type WHERE oid = objid AND d.classid = 'pg_type'::regclass),
		(SELECT ROW(pg_get_userbyid(evtowner), evtevent, evtenabled, evttags, evtfoid::regproc) FROM pg_event_trigger WHERE oid = objid AND d.classid = 'pg_event_trigger'::regclass)
	FROM pg_depend d, pg_identify_object(classid, objid, 0) i
	WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'petition_cas') AND deptype = 'e'
	ORDER BY 1, 2};

# What of it changes with an update that is not whole; each is undone at once.
my @faults = (
	q{COMMENT ON FUNCTION lifecycle(regclass, name) IS 'other'},
	q{COMMENT ON TYPE petition_submission IS NULL},
	q{COMMENT ON EVENT TRIGGER petition_cas_ddl IS NULL},
	q{COMMENT ON AGGREGATE roster_hash_agg(anynonarray) IS NULL},
	q{ALTER FUNCTION lifecycle(regclass, name) VOLATILE},
	q{ALTER FUNCTION lifecycle(regclass, name) PARALLEL UNSAFE},
	q{ALTER FUNCTION lifecycle(regclass, name) COST 7},
	q{ALTER FUNCTION lifecycle(regclass, name) SET search_path = pg_catalog},
	q{ALTER FUNCTION lifecycle(regclass, name) RENAME TO graph},
	q{REVOKE EXECUTE ON FUNCTION lifecycle(regclass, name) FROM PUBLIC},
	q{ALTER FUNCTION lifecycle(regclass, name) OWNER TO clerk},
	q{ALTER EXTENSION petition_cas DROP FUNCTION lifecycle(regclass, name)},
	q{CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER EXTENSION petition_cas ADD FUNCTION more()},
	q{CREATE OR REPLACE FUNCTION petition_lifecycle() RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN '{"a": ["b"]}'::jsonb},
	q{ALTER EVENT TRIGGER petition_cas_ddl DISABLE},
	q{ALTER EVENT TRIGGER petition_cas_ddl OWNER TO chief},
	q{ALTER TYPE petition_submission ADD ATTRIBUTE more text},
	q{ALTER EXTENSION petition_cas DROP AGGREGATE roster_hash_agg(anynonarray); DROP AGGREGATE roster_hash_agg(anynonarray);
		CREATE AGGREGATE roster_hash_agg(id anynonarray) (SFUNC = roster_hash_agg_transition, STYPE = internal, FINALFUNC = roster_hash_agg_final);
		ALTER EXTENSION petition_cas ADD AGGREGATE roster_hash_agg(anynonarray);
		COMMENT ON AGGREGATE roster_hash_agg(anynonarray) IS 'The roster hash of the ids of all rows, without scope. Errors: 22004 for a null id, 22023 for a newline in one.'});

# --- The update -------------------------------------------------------------

# Settings with which a server finds the extension in our folder
sub where_it_is
{
	my ($bin, $share, $library) = map { qx("$config" --$_) =~ s/\n//r } qw(bindir sharedir pkglibdir);

	return qx("$bin/postgres" --describe-config) =~ /^extension_control_path/m
	  ? "extension_control_path = '$stage$share:\$system'\ndynamic_library_path = '$stage$library:\$libdir'\n"
	  : "extension_destdir = '$stage'\n";    # Debian's own one, before 18
}

# Decides a case in a session that has been open since before the update, and undoes it.
sub decide_in
{
	my ($session, $id) = @_;

	$session->{out} = '';
	$session->{in} .= "BEGIN; SELECT outcome FROM try_compare_and_swap(null::cases, $id, 'new', 'won'); ROLLBACK;\n\\echo done\n";
	$session->{run}->pump until $session->{out} =~ s/done\n\z//;
	return $session->{out};
}

for my $update (@updates)
{
	my ($old) = $update =~ /petition_cas--(.+)--\Q$present\E\.sql$/;
	my $name = "$old to $present";
	my $node = PostgreSQL::Test::Cluster->new("update_$old");
	my %session = (in => '', out => '');

	ok(-e "$source/sql/petition_cas--$old.sql", "$name: the old version still has its script") or next;
	install_version($old);
	$node->init;
	$node->append_conf('postgresql.conf', where_it_is());
	$node->start;
	create_shop($node, 'shop');
	is($node->safe_psql('shop', q{SELECT extversion FROM pg_extension WHERE extname = 'petition_cas'}), $old, "$name: the old version");
	my $before = describe_shop($node, 'shop', 'shop');
	$session{run} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', $node->connstr('shop') . q{ options='-c search_path=shop,public'} ],
		'<', \$session{in}, '>&', \$session{out}, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	is(decide_in(\%session, 11), "assigned\n", "$name: a session");

	install_version($present);
	check_shop($node, 'shop', 'shop', "$name, the library alone");
	is(decide_in(\%session, 12), "assigned\n", "$name, the library alone: the session goes on");

	$node->safe_psql('shop', 'ALTER EXTENSION petition_cas UPDATE');
	is(describe_shop($node, 'shop', 'shop'), $before, "$name: the tables are as they were");
	check_shop($node, 'shop', 'shop', $name);
	is(decide_in(\%session, 13), "assigned\n", "$name: the session goes on");
	$session{in} .= "\\q\n";
	$session{run}->finish;

	$node->safe_psql('postgres', 'CREATE ROLE chief SUPERUSER; CREATE DATABASE fresh');
	$node->safe_psql('fresh', 'CREATE EXTENSION petition_cas');
	my $fresh = $node->safe_psql('fresh', $objects);
	is($node->safe_psql('shop', $objects), $fresh, "$name: each object is as in a new installation");
	like($fresh, qr/^extension\|\Q$present\E\|/, "$name: which has the present version");
	cmp_ok(scalar(() = $fresh =~ /^(?:function|event trigger)\|/mg), '>', 40, "$name: and its objects");
	for my $fault (@faults)
	{
		ok($node->safe_psql('fresh', "SET client_min_messages = error; BEGIN; $fault; $objects; ROLLBACK") ne $fresh, "noticed: $fault");
	}

	is($node->safe_psql('shop', q{
			CREATE TABLE later (id int PRIMARY KEY, state text);
			SELECT govern('later', '{"open": ["won", "lost"]}');
			INSERT INTO later VALUES (1, 'open');
			SELECT outcome FROM try_compare_and_swap(null::later, 1, 'open', 'won');
			SELECT outcome FROM try_compare_and_swap(null::later, 1, 'open', 'lost');
			SELECT count(*) FROM verify_fates('later')}),
		"later_fates\nassigned\nalready_fated\n0", "$name: a table governed afterwards");
	$node->stop;
}

done_testing();
