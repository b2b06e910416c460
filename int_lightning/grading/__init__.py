"""Final answers: what a completion says, and whether it means the same as the gold answer."""

from int_lightning.grading.answers import MAX_ANSWER, Verdict, check_gold, normalise
from int_lightning.grading.extraction import extract_answer, final_answer
from int_lightning.grading.grader import Grader

__all__ = ["MAX_ANSWER", "Grader", "Verdict", "check_gold", "extract_answer", "final_answer", "normalise"]
