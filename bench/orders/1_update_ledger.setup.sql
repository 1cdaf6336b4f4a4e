\ir ../orders.sql
