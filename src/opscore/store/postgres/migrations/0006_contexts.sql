-- compatible since 5
-- Where each session runs, in full. Beside their rows, which are written with every renewal.
CREATE TABLE contexts(
  session bigint PRIMARY KEY REFERENCES sessions(id) ON DELETE CASCADE, context text NOT NULL);
