-- What providers' services report of earlier messages. key is a keyed digest of the
-- service's name for the event: told again, it is the same.
CREATE TABLE provider_events (
  account_id  TEXT    NOT NULL,
  delivery_id TEXT    NOT NULL,
  key         BLOB    NOT NULL CHECK (length(key) = 32),
  provider    TEXT    NOT NULL,
  kind        TEXT    NOT NULL,
  detail      TEXT    NOT NULL,
  happened_at INTEGER,
  recorded_at INTEGER NOT NULL,
  PRIMARY KEY (account_id, delivery_id, key),
  FOREIGN KEY (account_id, delivery_id) REFERENCES deliveries (account_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_message ON deliveries (message_id, account_id) WHERE message_id <> '';

-- No address: a digest under a key outside the database. user_id is no foreign key:
-- an address stays suppressed when its user goes.
CREATE TABLE suppressions (
  account_id     TEXT    NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  id             TEXT    NOT NULL,
  address_digest BLOB    NOT NULL,
  reason         TEXT    NOT NULL,
  provider       TEXT    NOT NULL DEFAULT '',
  user_id        TEXT,
  created_at     INTEGER NOT NULL,
  PRIMARY KEY (account_id, id)
) STRICT;

CREATE UNIQUE INDEX suppressions_address ON suppressions (address_digest, account_id);
