"""Reads expressions: arithmetic, functions, brackets.

Notation that is unknown here, or that can be read in two ways, is unreadable; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial

from int_lightning.grading.algebra import numbers
from int_lightning.grading.algebra.answer import Group, Matrix, Reading, as_quantity
from int_lightning.grading.algebra.functions import APPLIED, EXTREMES, value_of
from int_lightning.grading.algebra.notation import END, SYMBOLS, Token
from int_lightning.grading.algebra.numbers import Function, UnreadableError, exactly
from int_lightning.grading.algebra.quantities import Quantity, apply, constant, negative, opaque
from int_lightning.grading.algebra.scanner import Scanner
from int_lightning.grading.algebra.sets import INFINITY, REALS, Points
from int_lightning.grading.numerals import from_words

_DEPTH = 40
_CLOSING = {"(": ")", "[": "]", r"\{": r"\}"}
_ENCLOSED = {
    "|": ("|", numbers.absolute), r"\vert": (r"\vert", numbers.absolute), r"\lvert": (r"\rvert", numbers.absolute),
    r"\lfloor": (r"\rfloor", numbers.floor), r"\lceil": (r"\rceil", numbers.ceiling),
}  # fmt: skip
_FRACTIONS = frozenset([r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"])
_BINOMIALS = frozenset([r"\binom", r"\dbinom", r"\tbinom"])
_SYMBOLS = frozenset(f"\\{name}" for name in SYMBOLS)
_STARTS = (
    APPLIED | _FRACTIONS | _BINOMIALS | _SYMBOLS | {"(", "[", "{", r"\sqrt", r"\pi", r"\infty", r"\begin", *_ENCLOSED}
)
_MAPS = frozenset("fghFGH")  # f(x) is the value of an unknown function
_CONSTANTS = {"e": exactly.e, "i": exactly.mpc(0, 1), r"\pi": exactly.pi}  # each with the current number of digits


class ExpressionParser(Scanner):
    """Recursive descent: each method passes over one kind of phrase and returns what it says.

    Every method raises UnreadableError where the next tokens are not such a phrase.

    Args:
        tokens: Of an answer.
        symbol: Gives the values of a symbol by its name.
    """

    def __init__(self, tokens: list[Token], symbol: Callable[[str], Quantity]) -> None:
        super().__init__(tokens)
        self.symbol = symbol
        self.depth = 0
        self.bars = 0

    def sum(self) -> Reading:
        """Terms."""
        total = self._term(self.signs())
        while sign := self.signs():
            total = apply(numbers.add, as_quantity(total), as_quantity(self._term(sign)))
        return total

    def _term(self, sign: str) -> Reading:
        term = self.product()
        return negative(as_quantity(term)) if sign == "-" else term

    def product(self) -> Reading:
        """Factors, with or without a sign between them, or the parts of a ratio."""
        parts = [self._factors()]
        while self.accept(":"):
            parts.append(self._factors())
        return parts[0] if len(parts) == 1 else Group(tuple(parts), ":", ":")

    def _factors(self) -> Reading:
        left = self.power()
        while True:
            if self.accept(r"\cdot", r"\times", "*") or self._starts(self.token):
                left = _times(left, self.power())
            elif self.accept("/", r"\div"):
                right = self.power()
                if self._starts(self.token):
                    raise UnreadableError("a/bc")
                left = apply(numbers.divide, as_quantity(left), as_quantity(right))
            else:
                return left

    def _starts(self, token: Token) -> bool:
        if token.kind == "number":
            if self.tokens[self.at - 1].kind == "number":
                raise UnreadableError("a number after a number")
            return True
        return token.kind == "letter" or (token.text in _STARTS and not (token.text == "|" and self.bars))

    def power(self) -> Reading:
        """An atom with its exponent and the signs after it."""
        base = self._mixed() if self.token.kind == "number" and self.following.text in _FRACTIONS else self.atom()
        exponent = None
        while mark := self.accept("^", "_", "!", "%", r"\degree"):
            number = as_quantity(base)
            if mark == "_" and exponent is None and not number.symbols and isinstance(number.values[0], int):
                base = _in_base(number.values[0], from_words(self.raw()))
            elif mark == "%":
                base = replace(apply(numbers.divide, number, constant(100)), unit="%", decimals=number.decimals)
            elif mark == r"\degree" or (mark == "^" and self.accept_command(r"\circ")):
                base = replace(self._with_minutes(number), unit="°", name="")
            elif mark == "!" and self.token.text != "!":
                base = apply(numbers.factorial, number)
            elif number.name and mark == "^" and self.accept_command(r"\prime"):
                base = self.symbol(number.name + "'")
            elif exponent is None and mark == "^":
                name, exponent = number.name, self._exponent()
                base = apply(numbers.power, number, exponent)
            elif exponent is not None and mark == "_" and name:
                base = apply(numbers.power, self.symbol(f"{name}_{self.raw()}"), exponent)
            else:
                raise UnreadableError("two exponents")
        return base

    def _with_minutes(self, degrees: Quantity) -> Quantity:
        """An angle with the minutes and seconds after it."""
        if self.token.text == "'":
            raise UnreadableError("minutes")
        scale = 1
        while self.token.kind == "number" and self.following.text == "'" and scale < 3600:
            scale *= 60
            degrees = apply(numbers.add, degrees, constant(Fraction(self.token.text) / scale))
            self.at += 1
            while self.accept("'"):
                pass
        return degrees

    def _exponent(self) -> Quantity:
        sign = self.signs()
        if self.token.text in APPLIED:
            raise UnreadableError("a function as exponent without braces")
        exponent = as_quantity(self.atom())
        return negative(exponent) if sign == "-" else exponent

    def atom(self) -> Reading:
        """A phrase without operators outside brackets."""
        self.depth += 1
        if self.depth > _DEPTH:
            raise UnreadableError("too deep")
        token = self.token
        self.at += 1
        reading = self._atom(token)
        self.depth -= 1
        return reading

    def _atom(self, token: Token) -> Reading:
        if token.kind == "number":
            return self._number(token.text)
        if token.kind == "letter" or token.text in _SYMBOLS:
            return self._symbol(token.text)
        if token.kind == "text" or token is END:
            raise UnreadableError("words")
        if token.text in _CLOSING:
            return self._bracket(token.text)
        if token.text == "{":
            return self._braced()
        if token.text in _ENCLOSED:
            return self._enclosed(*_ENCLOSED[token.text])
        if token.text in _FRACTIONS:
            return apply(numbers.divide, self._argument(), self._argument())
        if token.text in _BINOMIALS:
            return apply(numbers.binomial, self._argument(), self._argument())
        if token.text in APPLIED:
            return self._function(token.text)
        return self._command(token.text)

    def _command(self, command: str) -> Reading:
        if command in _CONSTANTS:
            return constant(+_CONSTANTS[command])
        if command == r"\infty":
            return INFINITY
        if command in (r"\emptyset", r"\varnothing"):
            return Points(())
        if command == r"\mathbb" and "".join(t.text for t in self.tokens[self.at : self.at + 3]) == "{R}":
            self.at += 3
            return REALS
        if command == r"\sqrt":
            degree = constant(2)
            if self.accept("["):
                degree = as_quantity(self.sum())
                self.expect("]")
            return apply(numbers.root, self._argument(), degree)
        if command == r"\begin":
            return self._matrix()
        raise UnreadableError(command)

    def _number(self, text: str) -> Quantity:
        return replace(constant(Fraction(text)), decimals=len(text.partition(".")[2]))

    def _mixed(self) -> Quantity:
        """A whole number and the fraction after it: their sum if that is a proper fraction of digits, else their product."""
        whole = as_quantity(self.atom())
        start = self.at
        fraction = as_quantity(self.atom())
        inside = [token for token in self.tokens[start + 1 : self.at] if token.text not in ("{", "}")]
        if any(token.kind != "number" for token in inside):
            return apply(numbers.multiply, whole, fraction)
        if whole.decimals or not 0 < fraction.values[0] < 1:
            raise UnreadableError("a number before an improper fraction")
        return apply(numbers.add, whole, fraction)

    def _symbol(self, name: str) -> Quantity:
        while mark := self.accept("_", "'"):
            name += mark if mark == "'" else "_" + self.raw()
        if name[0] in _MAPS and self.token.text == "(":
            arguments = self.atom()
            several = arguments.items if isinstance(arguments, Group) else (arguments,)
            return apply(opaque(name), *map(as_quantity, several))
        if name in _CONSTANTS:
            return constant(+_CONSTANTS[name])
        return self.symbol(name)

    def _bracket(self, left: str) -> Reading:
        bars, self.bars = self.bars, 0
        items: list[Reading] = []
        while not (right := self.accept(*_CLOSING.values())):
            items += self.either_sign(self.sum) if left == r"\{" else [self.sum()]
            if self.token.text not in _CLOSING.values() and not self.accept(",", ";"):
                raise UnreadableError("brackets")
        self.bars = bars
        if (left == r"\{") != (right == r"\}") or (not items and left != r"\{"):
            raise UnreadableError("brackets")
        if len(items) > 2 and right != _CLOSING[left]:
            raise UnreadableError("brackets of three")
        if len(items) == 1 and left != r"\{":
            if right != _CLOSING[left]:
                raise UnreadableError("brackets")
            return replace(items[0], name="", decimals=0) if isinstance(items[0], Quantity) else items[0]
        return Group(tuple(items), left, right)

    def _braced(self) -> Reading:
        bars, self.bars = self.bars, 0
        inside = self.sum()
        if self.accept(r"\choose"):
            inside = apply(numbers.binomial, as_quantity(inside), as_quantity(self.sum()))
        self.expect("}")
        self.bars = bars
        return inside

    def _enclosed(self, right: str, function: Function) -> Quantity:
        self.bars += right == "|"
        inside = as_quantity(self.sum())
        self.expect(right)
        self.bars -= right == "|"
        return apply(function, inside)

    def _argument(self) -> Quantity:
        token = self.token
        if token.kind == "number" and len(token.text) > 1 and self.tokens[self.at - 1].text == r"\sqrt":
            raise UnreadableError("a root of some of the digits")
        if token.text == "{" or token.kind in ("number", "letter") or token.text in (r"\pi", *_SYMBOLS, *_FRACTIONS):
            return as_quantity(self.atom())
        raise UnreadableError("argument")

    def _function(self, command: str) -> Quantity:
        exponent = base = None
        while mark := self.accept("^", "_"):
            if mark == "^":
                exponent = self._exponent()
            else:
                base = as_quantity(self.atom())
        if command in EXTREMES:
            several = self.power()
            if exponent or base or not isinstance(several, Group):
                raise UnreadableError("an extreme of one value")
            return apply(EXTREMES[command], *map(as_quantity, several.items))
        return value_of(command, self._function_argument(), base, exponent)

    def _function_argument(self) -> Quantity:
        if self.token.text in ("(", "[", "{", *_ENCLOSED):
            argument = as_quantity(self.atom())
            if self.token.text == "^":
                raise UnreadableError("an exponent of a function or of its argument")
            return argument
        argument = as_quantity(self.power())
        while self._starts(self.token) and self.token.text not in (*APPLIED, "(", "["):
            argument = apply(numbers.multiply, argument, as_quantity(self.power()))
        if self.token.text == "/" and self.following.text not in APPLIED:
            raise UnreadableError("a quotient of or in a function")
        return argument

    def _matrix(self) -> Matrix:
        self.expect("{")
        name = self._environment()
        rows: list[list[Reading]] = [[]]
        while not self.accept(r"\end"):
            rows[-1].append(self.sum())
            if self.accept("\\\\"):
                if self.token.text != r"\end":
                    rows.append([])
            elif self.token.text != r"\end":
                self.expect("&")
        self.expect("{")
        if self._environment() != name or len({len(row) for row in rows}) != 1:
            raise UnreadableError("matrix")
        return Matrix(tuple(map(tuple, rows)))

    def _environment(self) -> str:
        """The name of an environment of matrices, and its closing brace."""
        name = self.token.text
        self.at += 1
        self.expect("}")
        if name not in ("matrix", "pmatrix", "bmatrix"):
            raise UnreadableError(name)
        return name


def _times(x: Reading, y: Reading) -> Reading:
    """The product of two expressions, or of an expression and a matrix."""
    match x, y:
        case (Quantity() as factor, Matrix(rows)) | (Matrix(rows), Quantity() as factor):
            return Matrix(tuple(tuple(map(partial(_times, factor), row)) for row in rows))
    return apply(numbers.multiply, as_quantity(x), as_quantity(y))


def _in_base(digits: int, base: str) -> Quantity:
    """Digits in another base, such as 21 in ``21_3``."""
    if base.isdecimal() and any(int(digit) >= int(base) for digit in str(abs(digits))):
        raise UnreadableError("not digits of this base")
    return replace(constant(digits), unit=f"base {base}")
