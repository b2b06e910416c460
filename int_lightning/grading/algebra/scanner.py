"""The tokens of an answer, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from int_lightning.grading.algebra.notation import END, Token
from int_lightning.grading.algebra.numbers import UnreadableError

T = TypeVar("T")


class Scanner:
    """A place in a list of tokens."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.sign = 1  # that plus-minus stands for in this reading
        self.plus_minus = 0  # plus-minus signs read so far

    @property
    def token(self) -> Token:
        """The next token."""
        return self.tokens[self.at] if self.at < len(self.tokens) else END

    @property
    def following(self) -> Token:
        """The token after the next."""
        return self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else END

    def accept(self, *texts: str) -> str:
        """Pass over the next token if its text is one of these, and return that text; else return ""."""
        if self.token.kind == "text" or self.token.text not in texts:
            return ""
        self.at += 1
        return self.tokens[self.at - 1].text

    def expect(self, text: str) -> None:
        """Pass over the next token, which must have this text.

        Raises:
            UnreadableError: if it has another.
        """
        if not self.accept(text):
            raise UnreadableError(f"{text} expected")

    def either_sign(self, phrase: Callable[[], T]) -> list[T]:
        """A phrase, or its two readings if it has a plus-minus."""
        start, outer = self.at, (self.sign, self.plus_minus)
        found: list[T] = []
        for sign in (1, -1):
            self.at, self.sign, self.plus_minus = start, sign, 0
            found.append(phrase())
            if self.plus_minus == 0:
                break
        if self.plus_minus > 1:
            raise UnreadableError("several plus-minus signs")
        self.sign, self.plus_minus = outer
        return found

    def signs(self) -> str:
        """Pass over the signs that are next: "+" or "-" for what they come to, "" if there are none."""
        found = ""
        while sign := self.accept("+", "-", r"\pm", r"\mp"):
            if sign in (r"\pm", r"\mp"):
                self.plus_minus += 1
                sign = "+" if (sign == r"\pm") == (self.sign > 0) else "-"
            found = "+" if (found in ("", "+") and sign == "+") or found == sign == "-" else "-"
        return found

    def accept_command(self, command: str) -> bool:
        """Pass over a command, with or without braces, if it is next; whether it was."""
        texts = [token.text for token in self.tokens[self.at : self.at + 3]]
        if texts[:1] == [command]:
            self.at += 1
        elif texts == ["{", command, "}"]:
            self.at += 3
        else:
            return False
        return True

    def raw(self) -> str:
        """Pass over a subscript; its text."""
        if not self.accept("{"):
            self.at += 1
            return self.tokens[self.at - 1].text if self.at <= len(self.tokens) else ""
        start = self.at
        while self.token.text not in ("{", "}") and self.token is not END:
            self.at += 1
        self.expect("}")
        return "".join(token.text for token in self.tokens[start : self.at - 1])
