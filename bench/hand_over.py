"""What Python takes to hand so many waiting threads their answers and take their next requests."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

ROUNDS = 200


def hand_over(clients: int) -> float:
    """Microseconds until so many threads that wait outside of Python have all been through it.

    Each waits on a lock of its own without the GIL, as in a call of the engine's, and makes an
    array when it is woken. All are woken at once, as when their batch is done. So this is what a
    batcher costs that takes no time itself.
    """
    gates = [threading.Lock() for _ in range(clients)]
    for gate in gates:
        gate.acquire()
    finished = threading.Semaphore(0)
    turn = itertools.count()
    running = True

    def client(gate: threading.Lock) -> None:
        while True:
            gate.acquire()
            if not running:
                return
            times = [time.perf_counter(), np.empty(1000, np.float16)]
            if next(turn) % clients == clients - 1:  # the last one
                finished.release()
            del times

    times = []
    with ThreadPoolExecutor(clients) as pool:
        done = [pool.submit(client, gate) for gate in gates]
        for _ in range(ROUNDS):
            time.sleep(0.001)  # all wait
            start = time.perf_counter()
            for gate in gates:
                gate.release()
            finished.acquire()
            times.append(1e6 * (time.perf_counter() - start))
        running = False
        for gate in gates:
            gate.release()
        for client_done in done:
            client_done.result()
    return statistics.median(times)
