"""The edge to Kafka: topic names, a publisher that waits for acks=all, and a consumer that owns its loop."""

from shared.kafka.consumer import PartitionConsumer, Record
from shared.kafka.publisher import KafkaUnavailable, Message, Publisher
from shared.kafka.topics import Topics

__all__ = ["KafkaUnavailable", "Message", "PartitionConsumer", "Publisher", "Record", "Topics"]
