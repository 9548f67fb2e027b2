DROP INDEX requests_digest;
CREATE INDEX requests_digest ON requests (address_digest, account_id);
DROP INDEX events_request;
DROP INDEX requests_accepted;
DROP TABLE limits;
