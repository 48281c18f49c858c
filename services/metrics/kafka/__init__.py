"""The edge to Kafka: ``counting`` what the worker reads, ``totals`` what it publishes, ``following`` what the api reads back."""
