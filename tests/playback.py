"""Plays the ordinary command of a made-up machine, without mnsweep, so that it starts at once.

    python -S tests/playback.py RECORDED FOLDER PACE_S words…

Appends the lines of RECORDED/blocks.jsonl that FOLDER lacks, one every PACE_S seconds, each synced, under the lock of FOLDER's
machine; a second one waits. Ctrl-C ends it after a whole line.
"""

import fcntl
import os
import shutil
import signal
import sys
import time


def main() -> None:
    recorded, folder, pace_s = sys.argv[1], sys.argv[2], float(sys.argv[3])
    stopped: list[int] = []
    signal.signal(signal.SIGINT, lambda *_: stopped.append(1))
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.copy(f"{recorded}/sweep.toml", f"{folder}/sweep.toml")
        with open(f"{recorded}/blocks.jsonl", "rb") as source, open(f"{folder}/blocks.jsonl", "ab+") as target:
            end = target.seek(0, os.SEEK_END)
            target.seek(0)
            whole = target.read().rfind(b"\n") + 1
            if whole < end:
                target.truncate(whole)
            source.seek(whole)
            for number, line in enumerate(source):
                if stopped:
                    print("mnsweep: interrupted", file=sys.stderr)
                    sys.exit(130)
                target.write(line)
                target.flush()
                os.fsync(target.fileno())
                print(f"line {number}", file=sys.stderr, flush=True)
                time.sleep(pace_s)
    print("{}")


if __name__ == "__main__":
    main()
