"""How far each partition is counted: the table ``offsets``, kept as every service with a state keeps it."""

from shared.offsets import Fenced, OtherTopic, advance, position

__all__ = ["Fenced", "OtherTopic", "advance", "position"]
