-- What providers' services report of earlier messages. key is a keyed digest of the
-- service's name for the event: told again, it is the same.
CREATE TABLE provider_events (
  account_id  text COLLATE "C" NOT NULL,
  delivery_id text COLLATE "C" NOT NULL,
  key         bytea  NOT NULL CHECK (length(key) = 32),
  provider    text   NOT NULL,
  kind        text   NOT NULL,
  detail      text   NOT NULL,
  happened_at bigint,
  recorded_at bigint NOT NULL,
  PRIMARY KEY (account_id, delivery_id, key),
  FOREIGN KEY (account_id, delivery_id) REFERENCES deliveries (account_id, id)
);

CREATE INDEX deliveries_message ON deliveries (message_id, account_id) WHERE message_id <> '';

-- No address: a digest under a key outside the database. user_id is no foreign key:
-- an address stays suppressed when its user goes.
CREATE TABLE suppressions (
  account_id     text COLLATE "C" NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
  id             text COLLATE "C" NOT NULL,
  address_digest bytea  NOT NULL,
  reason         text   NOT NULL,
  provider       text   NOT NULL DEFAULT '',
  user_id        text COLLATE "C",
  created_at     bigint NOT NULL,
  PRIMARY KEY (account_id, id)
);

CREATE UNIQUE INDEX suppressions_address ON suppressions (address_digest, account_id);
