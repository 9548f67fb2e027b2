DROP TABLE suppressions;
DROP INDEX deliveries_message;
DROP TABLE provider_events;
