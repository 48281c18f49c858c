"""The command ``rebuild``: the state of the companies' reports, read anew from the log by the running workers."""

import argparse
import time
from collections.abc import Sequence
from typing import Any, Final

import structlog

from services.utilities.handlers.rebuilding import Progress, rebuild
from services.utilities.settings import Settings
from shared import audit, postgres
from shared.clock import now
from shared.kafka import LogReader, Topics

log = structlog.get_logger()

TELL_SECONDS: Final = 1.0
STALLED_SECONDS: Final = 30.0


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command's options. Raises SystemExit (2) when they are wrong, with the usage on standard error."""
    parser = argparse.ArgumentParser("python -m services.utilities.main rebuild", description=__doc__)
    parser.add_argument(
        "--accept-shorter-log", action="store_true", help="go on where the database knows events that the log has not"
    )
    return parser.parse_args(arguments)


async def run(settings: Settings, chosen: argparse.Namespace) -> dict[str, Any]:
    """Rebuilds; returns what was done.

    Raises:
        CannotRebuild: nothing was wiped; the message says what to do.
    """
    topics = Topics(settings.topic_prefix)
    begun = told_at = moved_at = time.monotonic()
    last = -1

    def tell(progress: Progress) -> None:
        nonlocal told_at, moved_at, last
        at = time.monotonic()
        if progress.read != last:
            last, moved_at = progress.read, at
        if at - told_at >= TELL_SECONDS or progress.read == progress.of:
            told_at = at
            stalled = at - moved_at > STALLED_SECONDS
            log.info("rebuild_progress", **progress._asdict(), **({"what_to_do": "start a worker: none reads"} if stalled else {}))

    async with (
        await postgres.open_pool(settings.postgres_dsn.get_secret_value(), application="utilities-rebuild", size=1) as pool,
        LogReader(settings.kafka, [topics.utility_events, topics.case_events], client_id="utilities-rebuild") as reader,
    ):
        who = audit.whoever_runs_this()
        done = await rebuild(pool, reader, now, tell, accept_shorter_log=chosen.accept_shorter_log, who=who)
    return {**done._asdict(), "seconds": round(time.monotonic() - begun, 1)}
