"""The monthly notice (通报), pure: its figures, its words, its Markdown, its hash, and what changed since it was frozen."""

from services.metrics.domain.notice.content import Figures, Parameters, notice
from services.metrics.domain.notice.freezing import canonical, digest, restatement, verified
from services.metrics.domain.notice.markdown import markdown
from services.metrics.domain.notice.months import ends, last_day

__all__ = [
    "Figures", "Parameters", "canonical", "digest", "ends", "last_day", "markdown", "notice", "restatement", "verified",
]  # fmt: skip
