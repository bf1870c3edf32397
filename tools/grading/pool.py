"""Many jobs, each in a process and a temporary folder of its own, as many at a time as there are cores."""

import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import wait

import psutil

from tools.grading import worker
from utils.config import ROOT

LARGEST_ANSWER = 1_000_000  # bytes


def context():
    """How processes begin: copies of one that has torch loaded, where the system can; each anew elsewhere."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the same verdicts on every machine
    os.environ["TRANSFORMER_COURSE_LANGUAGE"] = "en"  # mistakes are recognized by their English names
    os.environ["PYTHONHASHSEED"] = "0"
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    methods = multiprocessing.get_all_start_methods()
    made = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        made.set_forkserver_preload([worker.__name__])
    return made


def done(jobs: list[dict], at_once: int, memory: int) -> Iterator[tuple[dict, list]]:
    """(job, rows) as they come: rows are what `worker.work` sends, or why nothing came. `memory` in bytes."""
    start, waiting, running = context(), deque(jobs), []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.popleft()
                try:
                    running.append(Running(job, start, memory))
                except OSError as error:
                    words = f"The machine could not start it: {error.strerror or error}."
                    yield job, [[job["exercise"], "error", ["the machine could not start it"], words]]
            wait([one.pipe for one in running], timeout=0.2)
            for one in list(running):
                rows = one.rows()
                if rows is not None:
                    running.remove(one)
                    one.end()
                    yield one.job, rows
    finally:
        for one in running:
            one.end()


class Running:
    """One job under way."""

    def __init__(self, job: dict, start, memory: int):
        self.job, self.memory, self.begun = job, memory, time.monotonic()
        self.outer = tempfile.mkdtemp(prefix="grade-")
        folder = os.path.join(self.outer, "answer", "work")  # what deletes .. deletes nothing of another's
        os.makedirs(folder)
        for path in job["beside"]:
            shutil.copy(path, folder)
        self.pipe, other = start.Pipe(duplex=False)
        inside = {key: value for key, value in job.items() if key not in ("beside", "seconds", "submission")}
        self.process = start.Process(target=worker.work, args=(inside, folder, memory, other), daemon=True)
        try:
            self.process.start()
        except OSError:  # nothing may stay behind; the socket of a process has no room for a long TMPDIR, say
            shutil.rmtree(self.outer, ignore_errors=True)
            raise
        other.close()

    def rows(self) -> list | None:
        """What came of it; None as long as it runs within its limits."""
        seconds = self.job["seconds"]
        try:
            if self.pipe.poll():
                return json.loads(self.pipe.recv_bytes(LARGEST_ANSWER))
            if time.monotonic() - self.begun > seconds:
                return self.failed("it does not end", f"It had not ended after {seconds:.0f} seconds.")
            if self.resident() > 1.2 * self.memory + 10**9:  # torch's own, and where the system sets no limit itself
                return self.failed("too much memory", f"It took more than {self.memory / 1e9:.1f} GB of memory.")
        except (EOFError, OSError, ValueError):
            self.process.join(1)
            words = f"Its process ended without an answer (exit code {self.process.exitcode})."
            return self.failed("its process ended", words)
        return None

    def failed(self, mistake: str, words: str) -> list:
        return [[self.job["exercise"], "error", [mistake], words]]

    def resident(self) -> int:
        try:
            return psutil.Process(self.process.pid).memory_info().rss
        except psutil.Error:
            return 0

    def end(self) -> None:
        self.process.kill()
        self.process.join(5)
        self.pipe.close()
        shutil.rmtree(self.outer, ignore_errors=True)
