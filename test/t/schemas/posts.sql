-- A moderation queue with a soft delete; readers have a view of what is not deleted.
CREATE TABLE posts (
    id bigint PRIMARY KEY,
    body text NOT NULL,
    state varchar(16) NOT NULL DEFAULT 'pending',
    moderator text,
    deleted_at timestamptz,
    CHECK ((state = 'removed') = (deleted_at IS NOT NULL))
);
CREATE VIEW live_posts AS SELECT id, body FROM posts WHERE deleted_at IS NULL;
SELECT govern('posts', '{"pending": ["flagged", "approved", "removed"], "flagged": ["approved", "removed"]}');
INSERT INTO posts SELECT 9000000000 + n, 'post ' || n FROM generate_series(1, 13) n;
UPDATE posts SET state = 'flagged';
