"""Where the caller stands: ``./onething`` works from the repository's root, and files are meant from where it was called."""

import os
from pathlib import Path


def given(file: Path) -> Path:
    """``file`` as the caller means it: from the folder in which ``./onething`` was called."""
    return Path(os.environ.get("ONETHING_CALLED_FROM") or ".") / file
