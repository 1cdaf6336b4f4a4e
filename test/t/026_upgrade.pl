# pg_upgrade from an older PostgreSQL to a newer one, where two of them are
# installed with what it takes to build extensions: all is as it was.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shop;
use Test::More;

# What a pg_config says.
sub ask
{
	my ($config, $option) = @_;
	my $answer = qx("$config" $option 2>&1) // '';

	chomp $answer;
	return $answer;
}

# The installations that there are, by their major version.
my %installed;
my $missing = '';

for my $config ($ENV{PG_CONFIG} // 'pg_config', glob '/usr/lib/postgresql/*/bin/pg_config')
{
	my ($version, $major) = ask($config, '--version') =~ /^PostgreSQL ((\d+)\S*)/ or next;
	my $bin = ask($config, '--bindir');

	next unless $major >= 15 && -e ask($config, '--pgxs') && -x "$bin/pg_upgrade" && -x "$bin/initdb";

	# From 18 on, pg_upgrade looks for libraries in the server's own folder alone.
	if ($major >= 18 && !-e ask($config, '--pkglibdir') . '/petition_cas.so')
	{
		$missing = ", and petition_cas is not installed in PostgreSQL $major";
		next;
	}
	$installed{$major} //= { config => $config, bin => $bin, version => $version };
}

my ($oldest, @newer) = sort { $a <=> $b } keys %installed;

plan skip_all => "only one PostgreSQL to build for is here$missing" unless @newer;

# Builds the extension for a version, and returns the file of the settings with
# which a server of that version finds it (Debian's own one, before 18).
sub build_for
{
	my ($major) = @_;
	my $installation = $installed{$major};
	my $folder = PostgreSQL::Test::Utils::tempdir("build_$major");
	my $stage = "$folder/stage";
	my $settings = qx("$installation->{bin}/postgres" --describe-config);

	system_or_bail('cp', '-r', "$FindBin::Bin/../..", "$folder/source");
	system_or_bail('make', '-s', '-C', "$folder/source", "PG_CONFIG=$installation->{config}", 'with_llvm=no', @$_)
	  for ['clean'], ['-j2'], [ 'install', "DESTDIR=$stage" ];

	append_to_file("$folder/conf", $settings =~ /^extension_destdir/m ? "extension_destdir = '$stage'\n" : '');
	return "$folder/conf";
}

my %conf = map { $_ => build_for($_) } $oldest, @newer;

# A server of that version; PostgreSQL 18 has checksums unless told otherwise.
sub new_server
{
	my ($major, $name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => $installed{$major}{bin} =~ s{/bin$}{}r);

	local $ENV{TEMP_CONFIG} = $conf{$major};
	$node->init(extra => ['--data-checksums']);
	return $node;
}

for my $newer (@newer)
{
  SKIP:
	for my $mode ('--copy', '--link')
	{
		my $name = "$oldest to $newer, $mode";
		my $old = new_server($oldest, "old_$newer$mode");
		my $new = new_server($newer, "new_$newer$mode");

		$old->start;
		create_shop($old, 'shop');
		my $before = describe_shop($old, 'shop', 'shop');
		check_shop($old, 'shop', 'shop', "PostgreSQL $oldest");
		$old->stop;

		chdir $new->basedir or die;
		my $upgraded = system_log("$installed{$newer}{bin}/pg_upgrade", '--no-sync', ($mode eq '--copy' ? () : $mode),
			'-b', $installed{$oldest}{bin}, '-B', $installed{$newer}{bin}, '-d', $old->data_dir, '-D', $new->data_dir,
			'-s', $new->host, '-p', $old->port, '-P', $new->port, '-U', scalar getpwuid $<) == 0;
		chdir "$FindBin::Bin/../.." or die;

		# The minor releases of November 2026 upgrade only to one another.
		my @logs = glob $new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_dump_*.log';
		skip "PostgreSQL $installed{$newer}{version} cannot take over what $installed{$oldest}{version} has", 6
		  if !$upgraded && grep { slurp_file($_) =~ /unrecognized parameter "pg_attver"/ } @logs;
		ok($upgraded, "$name: pg_upgrade");

		$new->start;
		is(describe_shop($new, 'shop', 'shop'), $before, "$name: all is as it was");
		check_shop($new, 'shop', 'shop', $name);
		$new->stop;
	}
}

done_testing();
