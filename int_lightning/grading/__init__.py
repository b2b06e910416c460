r"""Final answers: what a completion says, and whether it means the same as the gold answer.

A grammar reads an answer, and two answers are equal if what it reads is: numbers and expressions by their exact values (symbols
have fixed values; equal arguments of an unknown function give equal values), sets by what they contain, tuples and matrices by
their parts in order, lists in any order, relations up to a factor, words by their letters. The first rule that can say decides,
also if it says "different"; what no rule reads equals only itself. In the order of reading:

===============================  ==========================================================================================
extraction, answers              which part of a text is the answer; equal texts and plain numbers
characters, numerals             characters as LaTeX; numbers in digits
layout, remarks                  *dropped*: spaces, sizes, fonts, colours; "(approximately 2.3)" after an answer
rewriting                        one notation; *dropped*: "1st" is 1, "exactly" and "about" before a number,
                                 ``x :`` in ``\{x : ...\}``
compare                          the order of the rules; commas between thousands or values
words, cases                     options, times of day, answers in words, definitions by cases; *dropped*: what an option
                                 says after its letter, case, punctuation, plurals
algebra: notation,               tokens; arithmetic, functions, brackets
expression_parser
algebra: answer_parser, names    whole answers; *dropped*: a name before ``=``, a domain or excluded values after an answer
                                 (``k \in \mathbb{Z}``)
algebra: units                   *dropped* if the other answer has none: a unit, what is counted, unless one of its words
                                 changes the number
algebra: conditions, sets        inequalities solved for their symbol, excluded values, residues; sets of numbers
algebra: comparing, relations    values, parts, equations, with amounts, equations and renaming
===============================  ==========================================================================================

``tests/grading/grading_pairs.jsonl`` has pairs for each of these and, for what is dropped, the pairs that must stay different.
"""
