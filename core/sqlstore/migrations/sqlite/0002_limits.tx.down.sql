DROP INDEX requests_digest;
CREATE INDEX requests_digest ON requests (account_id, address_digest);
DROP INDEX events_request;
DROP INDEX requests_accepted;
DROP TABLE limits;
