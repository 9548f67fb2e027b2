-- What verifying an imported hash takes, as its PHC string has it before the salt;
-- empty for a hash of ours, and for none.
ALTER TABLE users ADD COLUMN hash_cost TEXT NOT NULL DEFAULT '';

CREATE INDEX users_hash_cost ON users (account_id, hash_cost) WHERE hash_cost <> '';

-- Wrong passwords in a row. key is a keyed digest: no row says whom it counts, or
-- whether there is such a user. account_id is no foreign key: a row has its own end.
CREATE TABLE sign_in_tries (
  account_id TEXT    NOT NULL,
  key        BLOB    NOT NULL CHECK (length(key) = 32),
  tries      INTEGER NOT NULL,
  tried_at   INTEGER NOT NULL,
  PRIMARY KEY (account_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX sign_in_tries_tried ON sign_in_tries (tried_at);
