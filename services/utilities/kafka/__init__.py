"""The worker's edge to Kafka: ``consuming`` what it reads, ``telling`` what it publishes."""
