from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from store.errors import ServiceUnavailable
from store.locks import file_lock


def test_only_one_thread_holds_it(tmp_path: Path) -> None:
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(10):
            with file_lock(tmp_path / "a.lock"):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_held_lock_times_out(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.lock"
    with file_lock(path), pytest.raises(ServiceUnavailable, match=r"a\.lock"), file_lock(path, timeout=0.1):
        raise AssertionError("two held it")
    with file_lock(path, timeout=0.1):
        pass


def test_a_killed_holder_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    code = (
        "import sys, time; from pathlib import Path; from store.locks import file_lock\n"
        "with file_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ServiceUnavailable), file_lock(path, timeout=0.1):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with file_lock(path, timeout=5):
        pass
