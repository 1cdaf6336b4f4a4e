SELECT create_petitions();
