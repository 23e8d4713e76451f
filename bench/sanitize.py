"""A short run for compute-sanitizer, with everything that touches the GPU.

compute-sanitizer --tool memcheck --leak-check full python bench/sanitize.py
"""

from __future__ import annotations

import sys

import numpy as np
from checked import TOLERANCE, open_engines

import fasttrt

RUNS = 20


def main(device: str = "cuda") -> int:
    rng = np.random.default_rng()
    engines = open_engines(device, contexts=2)
    worst = 0.0
    for checked in engines:
        for run in range(RUNS):
            # The largest first, then all sizes: what a larger run left behind must not be read.
            worst = max(worst, checked.run(rng, checked.largest if run == 0 else None))
        try:
            checked.engine.infer(np.zeros((1000, 1000), np.float32))
        except fasttrt.InputError:
            pass
        else:
            raise SystemExit("a wrong shape was taken")
        worst = max(worst, checked.run(rng))
        checked.engine.close()
    print(f"{len(engines) * (RUNS + 1)} runs, largest error {worst:.2e}")
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
