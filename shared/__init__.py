"""What two or more services use: wire models, the roster, the catalogue, signing, and the edges to Kafka and PostgreSQL."""
