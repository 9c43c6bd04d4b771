"""SearchService, for reference: a full-text index in an SQLite file, level with the catalog."""
