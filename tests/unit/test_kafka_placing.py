"""Where a key is placed: as Kafka's own clients place it, for a case must stay in its partition."""

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.kafka.placing import partition_of


@settings(max_examples=500)
@given(st.one_of(st.binary(max_size=70), st.text(max_size=30).map(str.encode)), st.integers(1, 64))
@example(b"", 8)
@example(b"\xff" * 7, 8)
def test_a_key_is_placed_as_the_clients_place_it(key: bytes, partitions: int) -> None:
    everywhere = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, everywhere, everywhere)


def test_it_is_what_javas_client_says() -> None:
    # From the tests of Kafka's own client (UtilsTest.testMurmur2): the hashes, without their sign.
    hashes = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"abc": 479470107}
    for key, hashed in hashes.items():
        assert partition_of(key, 2**31) == hashed & 0x7FFFFFFF
