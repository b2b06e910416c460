"""The conventions of the grader: which answers are the same in other words, and which must stay different."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain

import pytest

from int_lightning.grading import worker
from int_lightning.grading.answers import normalise
from int_lightning.grading.boxes import extract_answer
from int_lightning.grading.grader import Grader

SAME = {
    "places": [
        (r"We try \boxed{11}. That is too large. Hence \boxed{9}.", "9"),
        (r"p=\boxed{2} and q=\boxed{7}", "p=2, q=7"),
        (r"\boxed{4}, \boxed{6}", "4,6"),
        (r"\boxed{\text{Answer: }21}", "21"),
        ("The answer is 21.", "21"),
        ("The final answer is $21$.", "21"),
        ("The minimum value is 21.", "21"),
        (r"\text{We get }21", "21"),
        ("approximately 21", "21"),
        ("Therefore, m = 21.", "21"),
        ("So the sum is 21", "21"),
        ("The answer is 20. No, one is missing: the answer is 21.", "21"),
        ("**21**", "21"),
        ("**Answer:** 21", "21"),
        ("<think>perhaps \\boxed{8}</think> We get $\\boxed{9}$", "9"),
    ],
    "thousands": [
        (r"12,\!500", "12500"),
        (r"12{,}500", "12500"),
        (r"\$12,\!500", "12500"),
        ("n=12,500", "12500"),
        ("$12,500", "12500"),
        ("12,500 ways", "12500"),
        (r"7,000\pi", r"7000\pi"),
        ("9!", "362,880"),
        ("2^{15}", "32,768"),
        ("100,200,300", "100, 200, 300"),
        (r"\$4,321.50", "4321.5"),
    ],
    "choices": [
        ("(C) 40", "C"),
        ("40", r"\textbf{(C)}\ 40"),
        (r"\text{Option C}", "C"),
        ("C. 40", "C"),
        ("C) 40", "(C)"),
        ("C: 40", "40"),
        ("The correct answer is (C).", "C"),
        (r"\textbf{(C) }\frac{2}{6}", r"\frac13"),
        (r"\text{Choice (C)}", "C"),
    ],
    "spelling": [
        (r"\begin{cases} 3 & m \text{ odd} \\ 4 & m \text{ even} \end{cases}",
         r"\begin{cases}3&m\text{ odd}\\4&m\text{ even}\end{cases}"),
        (r"g(x)=\begin{cases} x & x \ge 1 \\ 1 & x<1 \end{cases}", r"\begin{cases}x, & x\geq 1\\ 1, & x<1\end{cases}"),
        (r"\forall y\in\mathbb{R},\ y^4\geq 0", r"\forall y \in \mathbb R, y^4 \ge 0"),
        (r"\langle 4,5,6\rangle", r"\left\langle 4, 5, 6 \right\rangle"),
        (r"2, 4, \ldots, 20", "2,4,...,20"),
        (r"\{2,4,\cdots,2m\}", r"\{2, 4, \dots, 2m\}"),
    ],
    "suffixes": [
        (r"3k\pi, k\in\mathbb{Z}", r"3k\pi"),
        (r"y=\frac{\pi}{3}+k\pi, k\in\mathbb{Z}", r"y=\frac{\pi}{3}+m\pi\ (m\in\mathbb{Z})"),
        (r"3^n, n\ge 1", "3^n"),
        (r"3^n \quad (n \ge 1)", "3^n"),
        (r"n^3 \text{ for } n\geq 2", "n^3"),
        (r"(s,3s), s\in\mathbb{R}", "(s,3s)"),
        (r"f(x)=ax-b, a,b\in\mathbb{R}", "f(x)=ax-b"),
        (r"4^{k} \text{ where } k \text{ is the number of rows}", "4^k"),
    ],
    "names": [
        ("(x,y,z)=(4,5,6)", "x=4,y=5,z=6"),
        ("(q,p)=(8,9)", "(p,q)=(9,8)"),
        ("x=y=4", "(4,4)"),
        ("a=b=c=7", "a=7,b=7,c=7"),
        (r"\text{Total length} = 15", "15"),
    ],
    "numbers": [
        ("2 3/4", r"\frac{11}{4}"),
        (r"-1\ 1/2", "-1.5"),
        ("4½", "4.5"),
        (r"0.\overline{6}", r"\frac23"),
        (r"2.1\overline{6}", r"\frac{13}{6}"),
        (r"0.\dot{6}", r"\frac23"),
        ("7e4", "70000"),
        ("2.5e-3", "0.0025"),
        ("3 million", "3000000"),
        (r"1.5\text{ thousand}", "1500"),
        ("4 dozen", "48"),
        ("eleven", "11"),
        (r"37.5\%", "37.5"),
        ("40 percent", r"40\%"),
        ("y³", "y^3"),
        ("y**3-1", "y^3-1"),
        ("2**8", "256"),
        ("4√(2)", r"4\sqrt2"),
        ("5*sqrt(3)/2", r"\frac{5\sqrt3}{2}"),
        (r"\operatorname{arctan} 3", r"\arctan 3"),
        ("infinity", r"\infty"),
        (r"\text{infinitely many solutions}", r"\infty"),
    ],
    "residues and bases": [
        (r"5 \pmod{9}", "5"),
        (r"y\equiv 5 \pmod 9", r"5\pmod{9}"),
        (r"y\equiv 14\pmod 9", r"y \equiv 5 \pmod 9"),
        (r"5 \bmod 9", r"5\pmod 9"),
        (r"y\equiv 5 (mod 9)", r"y\equiv 5\pmod 9"),
        ("(2102)_3", "2102_{3}"),
        ("2102_3", "2102"),
        (r"110_{\text{two}}", "110_2"),
        ("110_2", "12_4"),
    ],
    "intervals": [
        (r"|y|\le 4", r"-4\le y\le 4"),
        ("|y-2|<3", "(-1,5)"),
        ("|y|>2", r"(-\infty,-2)\cup(2,\infty)"),
        (r"\{y\in\mathbb{R}: y\neq 4\}", r"y \ne 4"),
        ("0<y and y<5", "(0,5)"),
        ("y=-2 or y=3", r"\{3,-2\}"),
        (r"\pm 4", "4, -4"),
        ("3,8", "(3,8)"),
    ],
    "units": [
        (r"8\text{ min}", r"8\text{ minutes}"),
        ("8 min", "8"),
        ("70 km/h", "70"),
        ("70 km/h", "70 kilometers per hour"),
        (r"7 \text{ cm}^2", "7 square centimeters"),
        ("7 sq. units", "7"),
        ("16 years old", "16"),
        ("6 green marbles", "6"),
        ("6 positive integers", "6"),
        ("6 times", "6"),
        ("€8", "8"),
        (r"\$8", "8 dollars"),
        (r"9\frac{\text{m}}{\text{s}}", r"9\text{ m/s}"),
        ("40 degrees", r"40^\circ"),
        (r"180^\circ", r"\pi \text{ radians}"),
        (r"5 \text{ to } 7", "5:7"),
        (r"5\colon 7", "5:7"),
    ],
    "times": [
        ("9:15 p.m.", r"9:15\text{ PM}"),
        ("9:15 AM", "9:15"),
        ("9:15 PM", "21:15"),
        ("12 am", "0:00"),
    ],
    "words": [
        ("no solution", r"\text{no solutions}"),
        ("There are no solutions.", "no solution"),
        ("No, it cannot be done.", "No"),
        ("Yes, for example a cube", r"\text{Yes}"),
    ],
}  # fmt: skip

DIFFERENT = {
    "places": [
        (r"We try \boxed{9}. That is too small. Hence \boxed{11}.", "9"),
        (r"\text{No solution for }m=7", "7"),
        ("We consider m = 7", "7"),
        ("Suppose m = 7", "7"),
        (r"\text{impossible for }m=7", "7"),
        ("4 when m=7", "7"),
        ("The answer is not 7.", "7"),
        ("So the lower bound is 7", "7"),
        ("the first 7 of 12 terms", "7"),
        ("m=7 is impossible", "7"),
    ],
    "thousands": [("(2,345)", "2345"), ("2,34", "234"), ("n=12,500", "500"), ("12,500 ways", "12")],
    "choices": [
        ("(C) 40", "D"),
        ("(C) 40", "(D) 40"),
        ("(C) 40", "(C) 41"),
        (r"\textbf{(C)}\ 40", "41"),
        ("C, D", "C"),
        ("(C)(D)", "C"),
        ("C. 40, D. 41", "C"),
        ("not C", "C"),
    ],
    "spelling": [
        (r"\begin{cases} 3 & m \text{ odd} \\ 4 & m \text{ even} \end{cases}",
         r"\begin{cases}4&m\text{ odd}\\3&m\text{ even}\end{cases}"),
        (r"\langle 4,5,6\rangle", r"\langle 4,6,5\rangle"),
        (r"2, 4, \ldots, 20", r"2, 4, \ldots, 22"),
    ],
    "suffixes": [
        (r"3k\pi, k\in\mathbb{Z}", r"2k\pi, k\in\mathbb{Z}"),
        (r"(s,3s), s\in\mathbb{R}", r"(s,3s), s\in\mathbb{Z}"),
        (r"8 \text{ where } n \text{ is even}", "8"),
    ],
    "names": [("(x,y,z)=(4,5,6)", "x=4,y=6,z=5"), ("x=y=4", "(4,5)"), ("(q,p)=(8,9)", "(p,q)=(8,9)")],
    "numbers": [
        ("2 3/4", "2"),
        ("2 3/4", "1.5"),
        (r"0.\overline{6}", "0.6"),
        ("3 million", "3"),
        (r"1.5\text{ thousand}", "1.5"),
        ("4 dozen", "4"),
        ("2 hundred", "2"),
        ("7e4", "7"),
        (r"37.5\%", "3.75"),
        ("y³", "y^2"),
    ],
    "residues and bases": [
        (r"5 \pmod{9}", r"5\pmod{8}"),
        (r"y\equiv 5 \pmod 9", r"y\equiv 4 \pmod 9"),
        ("2102_3", "2102_4"),
        (r"110_{\text{two}}", "110_3"),
        (r"\text{prime numbers } q \equiv 5 \pmod 6", "5"),
    ],
    "intervals": [
        (r"\{4,7\}", "(4,7)"),
        (r"\{4,7\}", "[4,7]"),
        ("[4,7)", r"\{4,7\}"),
        (r"\{4,7,9\}", "(4,7,9)"),
        (r"\{(4,7)\}", r"\{4,7\}"),
        ("y=-4 or y=4", "(-4,4)"),
        ("y=4,y=7", "(4,7)"),
        ("y=4,7", "(4,7)"),
        (r"y=\pm 4", "(-4,4)"),
        (r"4\text{ or }7", "(4,7)"),
        ("|y-2|<3", "(-3,3)"),
    ],
    "units": [
        (r"7\text{ cm}^2", r"7\text{ cm}^3"),
        ("7 dollars", "7 cents"),
        (r"7\text{ cents}", r"\$7"),
        (r"40^\circ", r"40\%"),
        (r"40^\circ", "40 cm"),
        ("6 radians", r"6^\circ"),
        ("70 km/h", "70 m/s"),
        ("70 km", "70 km/h"),
    ],
    "trailing words": [
        ("12 or more", "12"),
        (r"12\text{ or more}", "12"),
        (r"12\text{ if }m\text{ is odd}", "12"),
        (r"12\text{ is not possible}", "12"),
        (r"12\text{ is an upper bound}", "12"),
        ("12 at least", "12"),
        ("12 squared", "12"),
        ("at least 12", "12"),
        ("between 12 and 15", "12"),
        ("2 hours 15 minutes", "2"),
        ("2 hours 15 minutes", "15"),
        (r"m \text{ even}", "m"),
        (r"f(x)=x\text{ for }x>2, 3x\text{ otherwise}", "f(x)=x"),
    ],
    "times": [("9:15 PM", "9:15 AM"), ("3:20 PM", "1:20 PM"), ("9:30 PM", "3:10 PM"), ("9 PM", "10")],
    "words": [("No, it cannot be done.", "Yes"), ("Yes, no", "Yes"), ("no solution", "No"), ("one solution", "no solution")],
}  # fmt: skip


def cases(table: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str]]:
    return list(chain.from_iterable(table.values()))


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(workers=1) as shared:
        yield shared


@pytest.mark.parametrize(("pred", "gold"), cases(SAME))
def test_equal(grader: Grader, pred: str, gold: str) -> None:
    assert [verdict.equal for verdict in grader.equivalent([pred, gold], [gold, pred])] == [True, True]


@pytest.mark.parametrize(("pred", "gold"), cases(DIFFERENT))
def test_different(grader: Grader, pred: str, gold: str) -> None:
    assert [verdict.equal for verdict in grader.equivalent([pred, gold], [gold, pred])] == [False, False]


def repeated(text: str, length: int = 1900) -> str:
    return (text * length)[:length]


@pytest.mark.parametrize(
    "piece",
    ["1", "1,000,", "1 1/2 ", " ", r"\text{a}", r"\boxed{", r"\boxed{1},", "a=", "so the ", "answer is ", "|x", "(a,", "**",
     "B. ", "{}", "no, ", "0.1", "1e", r"\dots", r"\left(", r"\pmod", "\\", r"\$1", "word ", "²", ":"],
)  # fmt: skip
def test_no_rule_takes_long_with_what_is_repeated(piece: str) -> None:
    before = time.process_time()
    assert worker.verdict(repeated(piece) + "!", "17") in ((False, ""), (False, "unparsable"))
    assert time.process_time() - before < 2


def test_long_texts_are_searched_in_linear_time() -> None:
    before = time.process_time()
    for piece in (r"\boxed{", r"\boxed{1} ", " ", "answer is ", "$", "1,000", ". "):
        text = repeated(piece, 100_000)
        extract_answer(text)
        normalise(text)
    assert time.process_time() - before < 5
