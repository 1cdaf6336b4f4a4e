# What docs/testing.md says of DatabaseCleaner, which deletes what is committed, and of fixtures.
require "test_helper"
require "database_cleaner"
begin
  require "database_cleaner/active_record" # version 2 has it apart
rescue LoadError
end

class CleanerTest < CommittingTest
  def clean(strategy, **options)
    DatabaseCleaner.strategy = strategy, options
    DatabaseCleaner.start
    yield if block_given?
    DatabaseCleaner.clean
  end

  def assert_refused(sqlstate, &call)
    error = assert_raises(ActiveRecord::StatementInvalid, &call)
    assert_equal sqlstate, error.cause.result.error_field(PG::PG_DIAG_SQLSTATE)
  end

  def insert_fixtures(*names)
    ActiveRecord::FixtureSet.reset_cache
    ActiveRecord::FixtureSet.create_fixtures(File.expand_path("fixtures", __dir__), names)
  end

  test "transaction" do
    clean(:transaction) { Order.create!(state: "cancelled") }
    assert_equal 1, OrderFate.count
  end

  test "truncation" do
    clean(:truncation)
    assert_equal [0, 0, 0], [Order, Item, OrderFate].map(&:count)
  end

  test "truncation without the ledger" do
    assert_refused("PF006") { clean(:truncation, except: %w[orders_fates]) }
  end

  test "deletion" do
    assert_refused("23503") { clean(:deletion) }
    Item.delete_all
    assert_refused("PF006") { clean(:deletion) }
  end

  test "fixtures in the order of their names" do
    self.class.empty
    assert_output(nil, /cannot disable the trigger that guards/) do
      assert_refused("23503") { insert_fixtures("items", "orders") }
    end
  end

  test "fixtures over those of the last run" do
    Item.delete_all
    assert_refused("PF006") { insert_fixtures("orders", "items") }
  end
end
