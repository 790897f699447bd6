"""An agent that sends what was recorded at once, without mnsweep: `python -S tests/bench/replay.py RECORDED NUMBER`."""

import hashlib
import json
import sys


def main() -> None:
    recorded, number = sys.argv[1], sys.argv[2]
    ask = json.loads(sys.stdin.readline())

    def send(message: str) -> None:
        sys.stdout.write(ask["token"] + message + "\n")

    checked = {"cpu": f"cpu {number}", "logical_cpus": 2, "machine_id": number}
    hello = {"kind": "hello", "version": ask["version"], "checked": checked, "informative": {}, "clock_s": 0.0}
    send(json.dumps(hello))
    sys.stdout.flush()
    while json.loads(sys.stdin.readline())["kind"] != "kept":
        pass
    with open(f"{recorded}/blocks.jsonl") as blocks, open(f"{recorded}/sweep.toml") as sweep:
        content, sweep_text = blocks.read(), sweep.read()
    kept = {"kind": "kept", "size": len(content), "sha256": hashlib.sha256(content.encode()).hexdigest()}
    send(json.dumps(kept))
    send(json.dumps({"kind": "sweep", "text": sweep_text}))
    lines, at = content.splitlines(), 0
    for start in range(0, len(lines), 1000):
        part = lines[start : start + 1000]
        send(f'{{"kind":"lines","at":{at},"lines":[{",".join(part)}]}}')
        at += sum(map(len, part)) + len(part)
    send('{"kind":"ended","status":0}')
    sys.stdout.flush()


if __name__ == "__main__":
    main()
