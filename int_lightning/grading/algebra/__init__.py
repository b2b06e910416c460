r"""Final answers read by a grammar and compared by their values.

Why this exists although there is math-verify: on the pairs below, that library calls 3 wrong answers right and 101 right
answers wrong, and takes 36 ms of a processor for a pair, because it builds sympy expressions and simplifies them. Here an
expression is its values at eight fixed points, exact where they are rational, and nothing is simplified. Notation that the
grammar does not know is unreadable; it is not guessed.

Agreement with the labels of 656 pairs (core: 147, hard: 500, 9 more are matters of policy), and speed in one process:

=========================================  =====  =====  =====================
grader                                     core   hard   pairs a CPU minute
=========================================  =====  =====  =====================
math-verify 0.9.0 alone, both sides boxed  143    400    1,670
math-verify after 480 lines of rewriting   144    418    1,817 (earlier)
an earlier algebra, then math-verify       145    443    138,000 (earlier)
an earlier algebra alone                   145    442    322,000 (earlier)
``int_lightning.grading`` with this one    145    446    94,000
=========================================  =====  =====  =====================

Rows marked "earlier" are from an earlier measurement that was not repeated; the other two are medians of three and four runs
on one core of an AMD EPYC. In the third row math-verify decided a single pair, so it was dropped, and sympy with it. Of the
wrong answers, all in the hard tier, math-verify accepts 3 and this grader 1. ``tests/grading/test_grading.py`` holds the last
row's agreement, ``benchmarks/grading.py`` measures speed.

What is where: ``numbers`` (exact arithmetic), ``quantities`` (expressions as values), ``functions``, ``units`` and ``sets``
are the values; ``notation``, ``scanner``, ``expression_parser``, ``answer_parser``, ``names`` and ``conditions`` read text
and return an ``answer``; ``comparing`` decides, with ``amounts``, ``relations``, ``equations`` and ``renaming``.
"""
