\ir ../history/1_update_history.setup.sql
