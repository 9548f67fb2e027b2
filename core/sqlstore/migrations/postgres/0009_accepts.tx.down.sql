ALTER TABLE requests ADD CONSTRAINT requests_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts (id);
