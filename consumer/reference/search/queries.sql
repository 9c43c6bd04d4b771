-- name: schema
-- `words` has its own copy of the texts, under the number of the item.
CREATE TABLE IF NOT EXISTS state (
  single     INTEGER PRIMARY KEY CHECK (single = 1),
  bookmark   TEXT,
  generation INTEGER NOT NULL,
  series     INTEGER NOT NULL,
  episodes   INTEGER NOT NULL,
  digest     TEXT NOT NULL
);
INSERT OR IGNORE INTO state VALUES (1, NULL, 0, 0, 0, '0');
CREATE TABLE IF NOT EXISTS item (
  number     INTEGER PRIMARY KEY,
  kind       INTEGER NOT NULL,
  id         TEXT NOT NULL,
  version    INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  live       INTEGER NOT NULL,
  slug       TEXT NOT NULL,
  UNIQUE (kind, id)
);
CREATE INDEX IF NOT EXISTS item_generation ON item (generation);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (
  title, series, category, tags, synopsis,
  tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);

-- name: drop
DROP TABLE IF EXISTS state; DROP TABLE IF EXISTS item; DROP TABLE IF EXISTS words;

-- name: state
SELECT bookmark, generation, series, episodes, digest FROM state;

-- name: begin_anew
UPDATE state SET bookmark = NULL, generation = generation + 1, series = 0, episodes = 0, digest = '0';

-- name: keep
UPDATE state SET bookmark = ?, series = ?, episodes = ?, digest = ?;

-- name: held
SELECT version, live FROM item WHERE kind = ? AND id = ? AND generation = ?;

-- name: put
-- A removal stays as a row, so that what is older than it does not bring the item back.
INSERT INTO item (kind, id, version, generation, live, slug) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (kind, id) DO UPDATE
   SET version = excluded.version, generation = excluded.generation, live = excluded.live,
       slug = excluded.slug
RETURNING number;

-- name: put_words
INSERT OR REPLACE INTO words (rowid, title, series, category, tags, synopsis)
VALUES (?, ?, ?, ?, ?, ?);

-- name: drop_words
DELETE FROM words WHERE rowid = ?;

-- name: drop_words_of_earlier
DELETE FROM words WHERE rowid IN (SELECT number FROM item WHERE generation < ?);

-- name: drop_items_of_earlier
DELETE FROM item WHERE generation < ?;

-- name: search
-- The weights say what a word in the title is worth beside one in the synopsis.
SELECT item.kind, item.id, item.slug, highlight(words, 0, :open, :close) AS title,
       highlight(words, 1, :open, :close) AS series, highlight(words, 2, :open, :close) AS category,
       snippet(words, 4, :open, :close, '…', 16) AS synopsis,
       -bm25(words, 10.0, 4.0, 3.0, 3.0, 1.0) AS score
  FROM words JOIN item ON item.number = words.rowid
 WHERE words MATCH :wanted
 ORDER BY score DESC, item.kind, item.slug
 LIMIT :most;
