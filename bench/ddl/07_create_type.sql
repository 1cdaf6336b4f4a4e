-- CREATE TYPE
CREATE TYPE new:n_kind AS ENUM ('one', 'other');
