"""The edge to Kafka: topic names, a publisher that waits for acks=all, and a consumer that owns its loop."""

from shared.kafka.access import Access, Address, Bootstrap, KafkaSettings, new_broker
from shared.kafka.consumer import PartitionConsumer
from shared.kafka.handler import Halt, Record
from shared.kafka.log import LogReader
from shared.kafka.publisher import KafkaUnavailable, Message, MessagesTooLarge, Publisher
from shared.kafka.starting import start_patiently
from shared.kafka.topics import Topics

__all__ = [
    "Access",
    "Address",
    "Bootstrap",
    "Halt",
    "KafkaSettings",
    "KafkaUnavailable",
    "LogReader",
    "Message",
    "MessagesTooLarge",
    "PartitionConsumer",
    "Publisher",
    "Record",
    "Topics",
    "new_broker",
    "start_patiently",
]
