"""The real corpus, read once for all test files of a process."""

from functools import cache

from utils import corpus

load = cache(corpus.load)
