"""A process number is used again, its birth is not."""

import os
import subprocess
import time
from pathlib import Path

from tmppool.backends.process_birth import born
from tmppool.clocks import boot_id


def test_a_process_is_told_from_a_later_one_of_its_number() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        birth = born(process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert born(process.pid) is None  # not yet asked for, but over
    assert born(process.pid) is None
    assert birth is not None
    assert birth != born(os.getpid())
    when, ticks = birth.split()
    assert when == boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    # Not from the time of day, which may be set while notebooks run.
    assert 0 <= time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK") < 600
