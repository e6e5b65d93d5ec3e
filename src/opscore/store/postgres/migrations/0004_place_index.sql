-- compatible since 3
-- The key in these indexes is an expression, so that nobody looks up a key in them. When a long
-- transaction elsewhere keeps the server from cleaning up, `live` is full of what is gone, while its
-- statistics say that it is all but empty; then the planner found walking through the whole index on
-- places as good as the primary key, and a batch took tens of seconds.
DROP INDEX live_place;
DROP INDEX live_suspect;
CREATE INDEX live_place ON live(lane, place, (key + 0));
CREATE INDEX live_suspect ON live(lane, place, (key + 0)) WHERE suspect;
