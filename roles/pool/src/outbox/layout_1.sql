-- The outbox as version 1 of its layout had it, with a quote, a refusal and a share that waits.
CREATE TABLE share (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    header_hash     BLOB    NOT NULL UNIQUE,
    amount          INTEGER NOT NULL,
    locking_key     BLOB    NOT NULL,
    accepted_at_ms  INTEGER NOT NULL,
    state           INTEGER NOT NULL DEFAULT 0,
    settled_seq     INTEGER,
    settled_at_ms   INTEGER,
    quote_id        TEXT,
    refusal_code    INTEGER,
    refusal_message TEXT
) STRICT;
CREATE INDEX share_waiting ON share (id) WHERE state = 0;
CREATE INDEX share_settled ON share (settled_seq) WHERE state <> 0;
CREATE INDEX share_quote ON share (locking_key, settled_seq) WHERE quote_id IS NOT NULL;
CREATE TABLE tally (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    requested    INTEGER NOT NULL,
    waiting      INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL,
    without_id   INTEGER NOT NULL,
    kept         INTEGER NOT NULL,
    settled_seq  INTEGER NOT NULL
) STRICT;
INSERT INTO tally VALUES (1, 3, 1, 1, 0, 2, 2);
CREATE TABLE refused (
    code  INTEGER PRIMARY KEY,
    count INTEGER NOT NULL
) STRICT;
INSERT INTO refused VALUES (3, 1);
INSERT INTO share (header_hash, amount, locking_key, accepted_at_ms, state, settled_seq, settled_at_ms, quote_id)
VALUES (X'0101010101010101010101010101010101010101010101010101010101010101', 2, X'020202020202020202020202020202020202020202020202020202020202020202', 10, 1, 1, 9000000000000, 'q1');
INSERT INTO share (header_hash, amount, locking_key, accepted_at_ms, state, settled_seq, settled_at_ms, refusal_code, refusal_message)
VALUES (X'0202020202020202020202020202020202020202020202020202020202020202', 3, X'020202020202020202020202020202020202020202020202020202020202020202', 20, 2, 2, 9000000000000, 3, 'no');
INSERT INTO share (header_hash, amount, locking_key, accepted_at_ms)
VALUES (X'0303030303030303030303030303030303030303030303030303030303030303', 4, X'020202020202020202020202020202020202020202020202020202020202020202', 30);
PRAGMA user_version = 1;
