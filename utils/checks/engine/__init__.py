"""What descriptions of exercises are made of; `check` says how one is written, `patches` how mistakes are."""

from utils.checks.engine.cases import Draw, copy, each_tensor, show
from utils.checks.engine.check import COURSE, SDPA, Check, exercise
from utils.checks.engine.compare import difference
from utils.checks.engine.messages import say

__all__ = ["COURSE", "SDPA", "Check", "Draw", "copy", "difference", "each_tensor", "exercise", "say", "show"]
