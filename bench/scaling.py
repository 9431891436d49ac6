#!/usr/bin/env python3
"""What would give first on more cores than there are here: a closed queueing network.

Each of n threads works alone for a while, then needs one of k locks for a moment, and so on.
Mean value analysis (Reiser and Lavenberg, 1980) gives the rate of all threads; its ratio to n
times the rate of one is printed. It knows nothing of caches and memory: what a lock's cache line
costs on its way between cores is part of the time that the lock is held.
"""
import argparse

# Row, calls of malloc (each with its free) per second of processor time, locks taken per call.
# doc/scaling.md says how they were counted.
ROWS = [
    ("larson, 8 threads", 47.4e6, 0.0079),
    ("larson, 64 threads", 35.2e6, 0.0162),
    ("mstress, 16 threads", 5.6e6, 0.0378),
    ("churn, 4 threads", 7.5e6, 0.0813),
    ("t-test1, 64 threads", 49.2e6, 0.0800),
    ("sh8, 8 threads", 51.3e6, 0.0969),
    ("rptest, 4 threads", 7.2e6, 0.4541),
    ("producers 1:4", 13.1e6, 0.4933),
]
CORES = (2, 8, 16, 32, 64, 128)
CPUS_PER_SHARD = 4
SHARDS_MAX = 16


def rate(threads, think_s, hold_s, locks):
    """Lock acquisitions per second of all threads; each lock is as likely as any other."""
    queue = 0.0
    result = 0.0
    for n in range(1, threads + 1):
        wait_s = hold_s * (1 + queue)
        result = n / (think_s + wait_s)
        queue = result * wait_s / locks
    return result


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--hold-ns", type=float, default=60, help="a lock is held so long")
    parser.add_argument("--classes", type=int, default=8, help="size classes in use at a time")
    arguments = parser.parse_args()
    hold_s = arguments.hold_ns * 1e-9
    print(f"{'row':22}" + "".join(f"{cores:>8}" for cores in CORES))
    for name, calls, locks_per_call in ROWS:
        think_s = max(1 / (calls * locks_per_call) - hold_s, 0)
        one = rate(1, think_s, hold_s, 1)
        line = f"{name:22}"
        for cores in CORES:
            shards = min(max(cores // CPUS_PER_SHARD, 1), SHARDS_MAX)
            line += f"{rate(cores, think_s, hold_s, shards * arguments.classes) / one / cores:8.2f}"
        print(line)


if __name__ == "__main__":
    main()
