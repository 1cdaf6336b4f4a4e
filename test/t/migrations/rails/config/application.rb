require "logger"
require "rails"
require "active_record/railtie"
require "rails/test_unit/railtie"

module Shop
  class Application < Rails::Application
    config.load_defaults Rails.version.to_f
    config.eager_load = false
    config.secret_key_base = "for a test"
    config.active_record.schema_format = ENV.fetch("SCHEMA_FORMAT", "sql").to_sym
  end
end
