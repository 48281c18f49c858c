"""Rules of the intake: the judgement of an event, and the dialects that are read as events. No I/O.

``judging`` one event · ``rows`` one row of a dialect · ``dialects`` how each is read.
"""

from services.intake.domain.judging import DROPPED_FIELDS, SHOWN_FIELDS, Sender, judge, sender_of

__all__ = ["DROPPED_FIELDS", "SHOWN_FIELDS", "Sender", "judge", "sender_of"]
