-- What a budget has left: for each of its rates the time at which it is as good
-- as new (GCRA: the theoretical arrival time). key is keyed: no row says whom it
-- counts.
CREATE TABLE limits (
  key  BLOB    NOT NULL CHECK (length(key) = 16),
  rate INTEGER NOT NULL,
  tat  INTEGER NOT NULL,
  PRIMARY KEY (key, rate)
) STRICT, WITHOUT ROWID;

CREATE INDEX limits_tat ON limits (tat);

-- What is kept long enough to be removed. Not only the ended ones: an index that
-- knows the state would be written again whenever it changes.
CREATE INDEX requests_accepted ON requests (accepted_at);
CREATE INDEX events_request ON events (account_id, request_id);

-- With the id, so that an address's requests are read newest first.
DROP INDEX requests_digest;
CREATE INDEX requests_digest ON requests (account_id, address_digest, id);
