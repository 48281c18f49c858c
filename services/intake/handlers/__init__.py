"""Use cases of intake, each a module. A push over HTTP is settled by ``shared.push``."""

from typing import Final

SERVICE: Final = "intake"
