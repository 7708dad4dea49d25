"""Of a notebook that runs out of memory, the kernel goes and not the server: that one can start it again.

Everyone may raise a process's own score and so its children's (proc(5), oom_score_adj).
"""

from contextlib import suppress
from pathlib import Path

_SCORE = Path("/proc/self/oom_score_adj")

with suppress(OSError, ValueError):
    _SCORE.write_text(str(min(1000, int(_SCORE.read_text()) + 200)))
