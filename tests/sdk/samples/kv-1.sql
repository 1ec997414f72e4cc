-- A key-value database in layout 1, as the first version wrote it, but by hand: operations 1 and 2 are pruned, 5 to 7 were
-- rolled back.
CREATE TABLE kv_store(key TEXT PRIMARY KEY NOT NULL, hlc TEXT NOT NULL, is_deleted INTEGER NOT NULL, expires_ms INTEGER, value BLOB NOT NULL);
CREATE INDEX kv_store_expires ON kv_store(expires_ms) WHERE expires_ms IS NOT NULL;
CREATE TABLE op_log(id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, op_type TEXT NOT NULL, value BLOB, hlc TEXT NOT NULL);
CREATE TABLE peers(peer TEXT PRIMARY KEY NOT NULL, acknowledged INTEGER NOT NULL, seen_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE meta(name TEXT PRIMARY KEY NOT NULL, value) WITHOUT ROWID;
INSERT INTO kv_store VALUES ('text', '018bcfe56801-0000-00000000000000ff', 0, 4000000000000, '"ä"'), ('gone', '018bcfe56802-0000-00000000000000ff', 1, NULL, '');
INSERT INTO op_log VALUES (3, 'text', 'put', '"ä"', '018bcfe56801-0000-00000000000000ff'), (4, 'gone', 'remove', NULL, '018bcfe56802-0000-00000000000000ff');
UPDATE sqlite_sequence SET seq = 7 WHERE name = 'op_log';
INSERT INTO peers VALUES ('p', 2, 1700000000000);
INSERT INTO meta VALUES ('format', 1), ('pruned', 2), ('clock', '018bcfe56807-0000-00000000000000ff');
