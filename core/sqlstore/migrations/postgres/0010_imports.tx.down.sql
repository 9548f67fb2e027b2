DROP TABLE sign_in_tries;
DROP INDEX users_hash_cost;
ALTER TABLE users DROP COLUMN hash_cost;
