r"""Outputs of oracles as they come in practice, however they are written, and the location and content to be read from them. All
refer to ``STEPS``, thirteen steps numbered from 0.
"""

from typing import NamedTuple

STEPS = [f"Then a_{i} = {i * i}, so the sum grows.\n\n" for i in range(12)] + ["So the sum is \\boxed{507}."]


class Case(NamedTuple):
    """``defect`` is the kind of defect, "" where location and content can be read."""

    raw: str
    location: int = -1
    content: str = ""
    defect: str = ""


USABLE = [
    # where the object stands
    Case('<intervention>{"location": 2, "content": "We add 4."}</intervention>', 2, "We add 4."),
    Case('Log...\n\n<intervention>{"location": 2, "content": "We add 4."}</intervention>\nGood luck!', 2, "We add 4."),
    Case('<intervention>\n{\n  "location": 2,\n  "content": "We add 4."\n}\n</intervention>', 2, "We add 4."),
    Case('<Intervention> {"location": 2, "content": "We add 4."} </INTERVENTION>', 2, "We add 4."),
    Case('< intervention >{"location": 2, "content": "We add 4."}</ intervention >', 2, "We add 4."),
    Case('<replacement>{"location": 2, "content": "We add 4."}</replacement>', 2, "We add 4."),
    Case('```json\n<intervention>{"location": 2, "content": "We add 4."}</intervention>\n```', 2, "We add 4."),
    Case('<intervention>```json\n{"location": 2, "content": "We add 4."}\n```</intervention>', 2, "We add 4."),
    Case('<intervention>\n```\n{"location": 2, "content": "We add 4."}\n```\n</intervention>', 2, "We add 4."),
    Case('<intervention>json\n{"location": 2, "content": "We add 4."}</intervention>', 2, "We add 4."),
    Case('<intervention>Here is the step: {"location": 2, "content": "We add 4."}</intervention>', 2, "We add 4."),
    Case('<intervention>`{"location": 2, "content": "We add 4."}`</intervention>', 2, "We add 4."),
    Case('<intervention>{{"location": 2, "content": "We add 4."}}</intervention>', 2, "We add 4."),
    Case('<intervention>{"intervention": {"location": 2, "content": "We add 4."}}</intervention>', 2, "We add 4."),
    # several tags
    Case(
        '<intervention>{"location": 1, "content": "No."}</intervention> Wait, earlier it holds.\n'
        '<intervention>{"location": 3, "content": "We add 9."}</intervention>',
        3,
        "We add 9.",
    ),
    Case(
        'I will answer between <intervention> and </intervention>.\n<intervention>{"location": 3, "content": "We add 9."}',
        3,
        "We add 9.",
    ),
    Case(
        '<intervention>{"location": 3, "content": "We add 9."}</intervention>\nThat is my <intervention> tag.',
        3,
        "We add 9.",
    ),
    Case(
        '<intervention>{"location": 3, "content": "We add 9."}</intervention> (the `<intervention>` tag holds it)',
        3,
        "We add 9.",
    ),
    Case(
        '<intervention>...</intervention> is the form. <intervention>{"location": 3, "content": "We add 9."}</intervention>',
        3,
        "We add 9.",
    ),
    Case(
        '<intervention>{"location": 3, "content": "We add 9."}</intervention> as <intervention>...</intervention>',
        3,
        "We add 9.",
    ),
    # thoughts before the answer
    *(
        Case(f'{thoughts}<intervention>{{"location": 3, "content": "We add 9."}}</intervention>', 3, "We add 9.")
        for thoughts in [
            '<think>Is it <intervention>{"location": 1, "content": "No."}</intervention>? No.</think>\n',
            'Is it <intervention>{"location": 1, "content": "I am not\n</think>\n\n1. holds.\n',
            "<thinking>As <intervention>{location, content}</thinking>",
            'analysisPerhaps <intervention>{"location": 1, "content": "Noassistantfinal',
            "[THINK]<intervention>[/THINK]",
            "Step 0 (`<think>`) holds.\n",
        ]
    ),
    # outputs that were cut, or closed wrongly
    Case('<intervention {"location": 4, "content": "We add 16."}</intervention>', 4, "We add 16."),
    Case('<intervention>{"location": 4, "content": "We add 16."}</', 4, "We add 16."),
    Case('<intervention>{"location": 4, "content": "We add 16."}\n<interv', 4, "We add 16."),
    Case('<intervention>{"location": 4, "content": "We add 16."}', 4, "We add 16."),
    Case('<intervention>\n{"location": 4, "content": "We add 16."}\n', 4, "We add 16."),
    Case('<intervention>{"location": 4, "content": "We add 16."}</interv', 4, "We add 16."),
    Case('<intervention>{"location": 4, "content": "We add 16."}<intervention>', 4, "We add 16."),
    Case('<intervention>{"location": 4, "content": "We add 16."}<\\intervention>', 4, "We add 16."),
    Case('<intervention>{"location": 4, "content": "We add 16."</intervention>', 4, "We add 16."),
    Case('<intervention>[{"location": 4, "content": "We add 16."}</intervention>', 4, "We add 16."),
    Case('<intervention>{"location": 4, "content": "We add 16."}\n\nI checked that it holds.', 4, "We add 16."),
    # comments and other members
    Case('<intervention>{"location": 4, "content": "We add 16."} // first error</intervention>', 4, "We add 16."),
    Case('<intervention>{"location": 4, "content": "We add 16."}\n# the "first" one\n</intervention>', 4, "We add 16."),
    Case('<intervention>{"location": 4, // first error\n"content": "We add 16."}</intervention>', 4, "We add 16."),
    Case('<intervention>{"location": 4 # first error\n, "content": "We add 16."}</intervention>', 4, "We add 16."),
    Case('<intervention>{/* mine */ "location": 4, "content": "We add 16." // ok\n}</intervention>', 4, "We add 16."),
    Case('<intervention>{"reason": "sum", "location": 4, "content": "We add 16."}</intervention>', 4, "We add 16."),
    Case('<intervention>{"content": "We add 16.", "location": 4, "leaks": False}</intervention>', 4, "We add 16."),
    Case('<intervention>{"log": ["ok", {"a": [1]}], "location": 4, "content": "We add 16."}</intervention>', 4, "We add 16."),
    # quotes, commas, literals
    Case("<intervention>{'location': 5, 'content': 'We add 25.'}</intervention>", 5, "We add 25."),
    Case("<intervention>{'location': 5, 'content': \"Let's add 25.\"}</intervention>", 5, "Let's add 25."),
    Case("<intervention>{'location': 5, 'content': 'Let's add the terms' sum.'}</intervention>", 5, "Let's add the terms' sum."),
    Case("<intervention>{'location': 5, 'content': 'Let\\'s add 25.'}</intervention>", 5, "Let's add 25."),
    Case("<intervention>{'location': 5, 'content': 'f' is \\frac{f'}{g'} here'}</intervention>", 5, r"f' is \frac{f'}{g'} here"),
    Case('<intervention>{"location": 5, "content": "We add 25.",}</intervention>', 5, "We add 25."),
    Case('<intervention>{"location": 5, "content": "We add 25." , }</intervention>', 5, "We add 25."),
    Case('<intervention>{location: 5, content: "We add 25."}</intervention>', 5, "We add 25."),
    Case('<intervention>{"location": 5\n "content": "We add 25."}</intervention>', 5, "We add 25."),
    Case('<intervention>{"Location": 5, "CONTENT": "We add 25.", "note": None}</intervention>', 5, "We add 25."),
    Case('<intervention>{"location": 5, "content": """We add 25.\nThen 36."""}</intervention>', 5, "We add 25.\nThen 36."),
    Case('<intervention>{"location": 5, "content": "the "odd", "even" too"}</intervention>', 5, 'the "odd", "even" too'),
    Case('<intervention>{"location": 5, "content": "he says "no""}</intervention>', 5, 'he says "no"'),
    Case('<intervention>{"location": 5, "content": "take {"a", "b"} now"}</intervention>', 5, 'take {"a", "b"} now'),
    Case('<intervention>{"content": "call it "x", as before", "location": 5}</intervention>', 5, 'call it "x", as before'),
    Case('<intervention>{"location": 5, "content": "the \\"odd\\" ones"}</intervention>', 5, 'the "odd" ones'),
    Case('<intervention>{"location": 5, "location": 5, "content": "We add 25."}</intervention>', 5, "We add 25."),
    Case("<intervention>{“location”: 5, “content”: “the \"odd\" ones”}</intervention>", 5, 'the "odd" ones'),
    Case('<intervention>{"location": 5, "content": “We add 25.”}</intervention>', 5, "We add 25."),
    Case('<intervention>{"content": "We add 25."\n "location": "5"\n}</intervention>', 5, "We add 25."),
    Case('<intervention>{"step": 5, "replacement": "We add 25."}</intervention>', 5, "We add 25."),
    Case('<intervention>{"location": 5, "content": ["We add 25."]}</intervention>', 5, "We add 25."),
    Case('<intervention>{"location": 5, "content": "a b"}\n{"location": 5, "content": "a b"}</intervention>', 5, "a b"),
    # labels
    *(
        Case(f'<intervention>{{"location": 5, "content": "{label}We add 25."}}</intervention>', 5, "We add 25.")
        for label in [
            "Step 5: ", "step 5. ", "**Step 5:** ", "**Step 5**: ", "**Step 5** ",
            "### Step 5\\n", "Step 5 - ", "[Step 5] \\n", "Substep 5:",
        ]
    ),
    Case('<intervention>{"location": 5, "content": "**Step 5: Add.** So 25."}</intervention>', 5, "**Add.** So 25."),
    Case('<intervention>{"location": 5, "content": "Step 4 gave 16."}</intervention>', 5, "Step 4 gave 16."),
    Case('<intervention>{"location": 5, "content": "Step 5.1 gave 16."}</intervention>', 5, "Step 5.1 gave 16."),
    Case('<intervention>{"location": 5, "content": "There is no error in step 4: it gave 16."}</intervention>', 5,
         "There is no error in step 4: it gave 16."),
    # backslashes and line breaks
    *(
        Case(f'<intervention>{{"location": 6, "content": "{written}"}}</intervention>', 6, meant)
        for written, meant in [
            (r"if $q\nmid m$ and $3\nu \ne 1$", r"if $q\nmid m$ and $3\nu \ne 1$"),
            (r"if \\(q\nmid m\\) and $A\nLeftarrow B$", r"if \(q\nmid m\) and $A\nLeftarrow B$"),
            (r"the $\tr(A)$ and $\norm{x}$", r"the $\tr(A)$ and $\norm{x}$"),
            (r"\noindent \thickapprox \toprule \tt", r"\noindent \thickapprox \toprule \tt"),
            (r"with $\beta$:\ni) odd\nii) even", "with $\\beta$:\ni) odd\nii) even"),
            (r"let $\beta = 1$.\n\ne is odd", "let $\\beta = 1$.\n\ne is odd"),
            (r"that is, \ni.e. 5", "that is, \ni.e. 5"),
            (r"\\[\nu^2 = 4\n\\]", "\\[\nu^2 = 4\n\\]"),
            (r"$$\nu = \frac{1}{2}\n$$", "$$\nu = \\frac{1}{2}\n$$"),
            (r"$$3\nu = \frac{1}{2}$$", r"$$3\nu = \frac{1}{2}$$"),
            (r"a &= \frac{1}{2}\\\nb &= 2", "a &= \\frac{1}{2}\\\\\nb &= 2"),
            (r"\frac{1}{2}\\\frac{3}{4}", r"\frac{1}{2}\\\frac{3}{4}"),
            (r"\\begin{pmatrix}1 & 2\\3 & 4 \\ x & y\\end{pmatrix}", r"\begin{pmatrix}1 & 2\\3 & 4 \\ x & y\end{pmatrix}"),
            (r"\\begin{cases}1\\\\ 2\\ 3\\end{cases}", r"\begin{cases}1\\ 2\ 3\end{cases}"),
            (r"x \\ y \\, z", r"x \ y \, z"),
        ]
    ),
    Case('<intervention>{"location": 6, "content": "one\n$$\\nu_2$$"}</intervention>', 6, "one\n$$\\nu_2$$"),
    Case(r'<intervention>{"location": 6, "content": "\frac{1}{2} \times \nu"}</intervention>', 6, r"\frac{1}{2} \times \nu"),
    Case(r'<intervention>{"location": 6, "content": "\\frac{1}{2} \\times \\nu"}</intervention>', 6, r"\frac{1}{2} \times \nu"),
    Case(r'<intervention>{"location": 6, "content": "x \neq 3"}</intervention>', 6, r"x \neq 3"),
    Case(r'<intervention>{"location": 6, "content": "\text{so } \beta = \rho"}</intervention>', 6, r"\text{so } \beta = \rho"),
    Case(r'<intervention>{"location": 6, "content": "with $\nu = 3$"}</intervention>', 6, r"with $\nu = 3$"),
    Case(r'<intervention>{"location": 6, "content": "we get 3.\nu is odd"}</intervention>', 6, "we get 3.\nu is odd"),
    Case(r'<intervention>{"location": 6, "content": "\\alpha = 3\nu = 4"}</intervention>', 6, "\\alpha = 3\nu = 4"),
    Case(r'<intervention>{"location": 6, "content": "\underline{x}, \upsilon"}</intervention>', 6, r"\underline{x}, \upsilon"),
    Case(r'<intervention>{"location": 6, "content": "\(x\) and \[y\]"}</intervention>', 6, r"\(x\) and \[y\]"),
    Case(r'<intervention>{"location": 6, "content": "a \% of \{1, 2\}"}</intervention>', 6, r"a \% of \{1, 2\}"),
    Case(r'<intervention>{"location": 6, "content": "\alpha \\ \beta"}</intervention>', 6, r"\alpha \\ \beta"),
    Case(r'<intervention>{"location": 6, "content": "\u00e9t\u00e9 \ud835\udc65"}</intervention>', 6, "été 𝑥"),
    Case(r'<intervention>{"location": 6, "content": "one.\n\nTwo.\tThree."}</intervention>', 6, "one.\n\nTwo.\tThree."),
    Case('<intervention>{"location": 6, "content": "one.\n\nTwo."}</intervention>', 6, "one.\n\nTwo."),
    Case(r"<intervention>{'location': 6, 'content': '\frac{1}{2}, \'so\''}</intervention>", 6, r"\frac{1}{2}, 'so'"),
    Case('<intervention>{"location": 6, "content": "half of {1, 2"}</intervention>', 6, "half of {1, 2"),
    # ways to write a location
    *(
        Case(f'<intervention>{{"location": {location}, "content": "We add 49."}}</intervention>', 7, "We add 49.")
        for location in [
            '"7"', '" 7 "', "7.0", '"7.0"', '"7."', '"07"', '"#7"', '"Step 7"', '"step 7:"', '"Substep 7"', '"STEP #7"',
            '"step_7"', '"**Step 7**"', '"[7]"', '"(7)"', "[7]", '["Step 7"]', "Step 7", "#7", '"Steps 7-8"', '"steps 7 to 9"',
            '"step-7"', '"Step No. 7"', '"step number 7"', '"7th step"', '"in step 7"', '"At Step 7."', '"=7"', "+7", "\"'7'\"",
            '"$7$"', '"Step\\u00a07"', '"７"', "7;", '"7,"', '"Step 7 (the first error)"', '"Step 7, where it grows"',
            '"7–8"', "7-8", '"Step 7: Then a_7 = 49, so"', '"Step 7: Then a_7 = 49..."',
        ]
    ),
    # lists
    Case('<replacement>[{"location": 3, "content": "We add 9."}]</replacement>', 3, "We add 9."),
    Case(
        '<replacement> [{ "location": 8, "content": "We add 64." },\n{ "location": 3, "content": "We add 9." },] </replacement>',
        3,
        "We add 9.",
    ),
    Case('<intervention>{"interventions": [{"location": 3, "content": "We add 9."}]}</intervention>', 3, "We add 9."),
    Case('<replacement>[{"location": 3, "content": "We add 9."}, {}]</replacement>', 3, "We add 9."),
    Case('<replacement>[{"location": 0, "content": "OK"},{"location": 3, "content": "We add 9."}]</replacement>', 3, "We add 9."),
    Case(
        'Second: <intervention>{"location": 5, "content": "No."}</intervention>\n'
        'First: <intervention>{"location": 3, "content": "We add 9."}</intervention>',
        3,
        "We add 9.",
    ),
]  # fmt: skip
