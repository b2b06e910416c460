r"""Final answers: what a completion says, and whether it means the same as the gold answer.

An answer is read by a grammar, and two answers are equal by what is read: numbers and expressions by their exact values (with
symbols at fixed points, unknown functions as functions of which only equal arguments say anything), sets by what they contain,
tuples and matrices by their parts in order, lists in any order, relations up to a factor, words by their letters. The first rule
that can say decides, also where it says "different"; what no rule reads is equal to nothing else. In the order of reading:

========================  =================================================================================================
extraction, answers       which part of a text is the answer; equal texts and plain numbers
characters, numerals      characters as LaTeX; numbers in digits
layout, remarks           *dropped*: spaces, sizes, fonts, colours; "(approximately 2.3)" behind an answer
rewriting                 one notation; *dropped*: "1st" is 1, "exactly" and "about" before a number, ``x :`` in ``\{x : ...\}``
rules                     the order of the rules; commas between thousands or values
choices, clocks, cases    options, times of day, definitions by cases; *dropped*: what an option says beside its letter
words                     answers in words; *dropped*: case, punctuation, plurals
notation, expressions     tokens; arithmetic, functions, brackets
reading, names            whole answers; *dropped*: a name before ``=``, a domain or excluded values behind (``k \in \mathbb{Z}``)
units                     *dropped* against an answer without: a unit, what is counted, unless a word of it changes the number
conditions, sets          inequalities solved for their symbol, excluded values, residues; sets of numbers
comparing, relations      values, parts, equations; amounts, equations, renaming are theirs
========================  =================================================================================================

``tests/grading/grading_pairs.jsonl`` has pairs for each of these, and for what is dropped the pairs that must stay different.
"""
