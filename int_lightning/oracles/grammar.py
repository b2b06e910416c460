r"""What a model may write between the tags of an intervention: a grammar for engines and servers that mask all other tokens.

It is not a JSON schema because xgrammar's schema for a string that is not empty refuses every backslash in it and lets tabs
through. Of JSON's escapes the grammar has ``\\``, ``\"`` and ``\n``: any other would usually be a LaTeX command whose backslash
was not doubled, and what ``\u`` stands for can be written as it is.
"""

from __future__ import annotations

from typing import Any

# `text` calls itself instead of repeating a rule of one character, and says what follows it: so xgrammar finds nearly all masks
# at once, where it would otherwise check each token of the vocabulary at every step.
_GRAMMAR = r"""
root ::= "{" gap (location gap "," gap content gap)? "}"
location ::= "\"location\"" gap ":" gap (NUMBERS)
content ::= "\"content\"" gap ":" gap "\"" ([^"\\<\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000] | "\\" ["\\]) text
text ::= ("\"" | [^"\\<\x00-\x1f] text | "\\" ["\\n] text | "<" less) (=[ \n}])
less ::= [^"\\</|A-Za-z\x00-\x1f] text | "\\" ["\\n] text | "<" less
gap ::= [ \n]{0,4}
"""  # noqa: E501


def intervention_tag(steps: int) -> dict[str, Any]:
    """A structural tag, also an OpenAI ``response_format``, under which a model writes freely until it opens the tag of an
    intervention. Between the tags it then writes ``{}``, or a location in the attempt and a content. The content begins with a
    visible character and holds nothing that begins a tag or a special token: no ``<`` directly before a letter, ``/`` or ``|``.

    Args:
        steps: Steps of the attempt, at least 1.
    """
    grammar = _GRAMMAR.replace("NUMBERS", " | ".join(f'"{i}"' for i in range(steps)))
    body = {"type": "grammar", "grammar": grammar}
    tag = {"type": "tag", "begin": "<intervention>", "content": body, "end": "</intervention>"}
    return {
        "type": "structural_tag",
        "format": {"type": "triggered_tags", "triggers": ["<intervention"], "tags": [tag]},
    }
