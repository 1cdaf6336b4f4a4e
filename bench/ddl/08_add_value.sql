-- ALTER TYPE ... ADD VALUE
ALTER TYPE new:n_kind ADD VALUE 'third';
