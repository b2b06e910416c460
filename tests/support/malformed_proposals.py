"""Outputs of oracles as they come in practice that cannot be used, and the kind of their defect. All refer to ``STEPS``."""

from readable_proposals import Case

DEFECTIVE = [
    *(
        Case(raw, defect="no proposal")
        for raw in [
            "",
            "I find no error.",
            '{"location": 1, "content": "We add 1."}',
            "I would answer between <intervention> and </intervention>.",
            '```json\n{"location": 1, "content": "We add 1."}\n```',
            '<interventional>{"location": 1, "content": "We add 1."}</interventional>',
            '{"location": 1, "content": "We add 1."}</intervention>',
            '<think><intervention>{"location": 1, "content": "No."}</intervention></think>It is step 2.',
        ]
    ),
    *(
        Case(raw, defect="no critical error")
        for raw in [
            "<intervention>{}</intervention>",
            "<intervention> { } </intervention>",
            "<intervention>[]</intervention>",
            "<intervention>[{}]</intervention>",
            "<intervention></intervention>",
            "<intervention>None</intervention>",
            "<intervention>null</intervention>",
            '<intervention>{"location": null, "content": null}</intervention>',
            '<intervention>{"location": None, "content": ""}</intervention>',
            "<intervention>```json\n{}\n```</intervention>",
            "<intervention>```json\nnull\n```</intervention>",
            "<intervention>No critical error.</intervention>",
            '<intervention>{"location": 0, "content": "No mistakes were found."}</intervention>',
            '<intervention>{"location": 3, "content": "There is no error: the attempt is correct."}</intervention>',
            '<intervention>{"location": 3, "content": "Step 3 is correct."}</intervention>',
            '<intervention>{"location": -1, "content": ""}</intervention>',
            '<intervention>{"location": "n/a", "content": "N/A"}</intervention>',
            '<intervention>{"location": null, "content": "ok"}</intervention>',
            '<intervention>{"location": 0, "content": "{}"}</intervention>',
            '<intervention>{"verdict": "no error"}</intervention>',
            '<intervention>{"no_error": true}</intervention>',
            "<intervention>{}",
            '<intervention>{"location": 1, "content": "We add 1."}</intervention> No: <intervention>{}</intervention>',
        ]
    ),
    *(
        Case(raw, defect="truncated")
        for raw in [
            "<intervention>",
            "<intervention>\n",
            '<intervention>{"location": 1',
            '<intervention>{"location": 1, "content": "We ad',
            '<intervention>{"location": 1, "content": "We add 1."',
            '<intervention>{"location": 1, "content": "We add 1.",',
            '<intervention>[{"location": 1, "content": "We add 1."}, {"loc',
            '<intervention>{"location": 1, "content": "No."}</intervention> Rather <intervention>{"location": 2, "cont',
            '<intervention>{"location": 1, "content": "No."}</intervention>\n<intervention>',
            '<intervention>{"location": 1, "content": "No."}</intervention>\nRather <replac',
            '<intervention>{"location": 1, "content": "No."}</intervention>\n<',
            '<intervention>{"location": 1, "content": "No."} Rather <inter',
            '<think>Is it <intervention>{"location": 1, "content": "No."}</intervention>? Step 2',
            "<thinking>\nI am not",
        ]
    ),
    *(
        Case(raw, defect="unreadable")
        for raw in [
            "<intervention>Step 1: we add 1.</intervention>",
            "<intervention>location: 1, content: we add 1</intervention>",
            '<intervention>{"location": 1, "content": "We ad</intervention>',
            "<intervention>{location = 1; content = 2}</intervention>",
            '<intervention>{"location": 1/2, "content": "We add 1."}</intervention>',
            '<intervention>{"location": , "content": "We add 1."}</intervention>',
            '<intervention>[{"location": 1, "content": "We add 1."}, "or this"]</intervention>',
            '<intervention>{"location": 1, "content": "half \\ud835 a sign"}</intervention>',
            '<intervention>{"location": 1, "content": We add 1, then 2}</intervention>',
            '<intervention>{"a": ' + "[" * 40 + "]" * 40 + "}</intervention>",
            '<intervention>{"location": 1, "content": "No."}</intervention> <intervention>Step 2 instead</intervention>',
            '<intervention>{"location": 1, "content": "We add " + "1."}</intervention>',
            '<intervention>{"location": 1, "content": "We add "\n"1."}</intervention>',
            '<intervention>{"content": "say "x", "y": z", "location": 1}</intervention>',
        ]
    ),
    *(
        Case(raw, defect="ambiguous")
        for raw in [
            "<intervention>{'location': 1, 'content': 'as <intervention>{\"location\": 2, \"content\": \"a\"}</intervention>'}",
            '<intervention>{"location": 1, "location": 2, "content": "We add 1."}</intervention>',
            '<intervention>{"location": 1, "Location": 2, "content": "We add 1."}</intervention>',
            '<intervention>{"location": 1, "content": "We add 1.", "content": "We add 4."}</intervention>',
            '<intervention>{"location": 1, "content": "a"}\n{"location": 2, "content": "b"}</intervention>',
            '<intervention>{"location": 1, "content": "a"}, {"location": 2, "content": "b"}</intervention>',
            '<intervention>{"location": 1, "content": "a"} or {location: 2, content: "b"}',
            '<intervention>{"location": 1, "content": "the set "a"} is"}</intervention>',
            '<intervention>{"location": 1, "content": "as {\\"location\\": 2}"}</intervention>',
            '<intervention>{"location": "Step 1: Then a_2 = 4", "content": "We add 1."}</intervention>',
            '<intervention>{"location": 1, "content": "Step 2: We add 1."}</intervention>',
            '<intervention step="2">{"location": 1, "content": "We add 1."}</intervention>',
            *(
                '<intervention>{"location": 1, "content": "a b"}</intervention>' + between +
                '<intervention>{"location": 2, "content": "b c"}</intervention>'
                for between in ["\n", "\n2. Second error:\n", " or ", "\nThe next critical mistake: "]
            ),
        ]
    ),
    *(
        Case(f'<intervention>{{"location": {location}, "content": "We add 1."}}</intervention>', defect="no step number")
        for location in [
            "true", "False", "null", '"one"', '""', '"Step 3 or 4"', '"3 and 4"', '"1, 2"', "[1, 2]", "[]", '{"step": 1}', "1.5",
            '"Step 1.2"', '"Step"', '"the first step"', "NUMBER_OF_THE_STEP", '"3/4"', '"Steps 4-3"', '"1 (2)"', '"step 1 2"',
            '"2 (1-indexed)"', '"before step 3"', '"not step 3"', "NaN", "1e1",
            '"Step 1 -> 2"', '">1"', '"<2"', '"1 → 2"', '"Step 3(-5)"', '"Step 1 (of 13)"', '"Step 1, not step 2"',
            '"Step 1 (or the next)"',
            '"Step 1 of the reference"', '"1 (first error)"', '"step 1 (counted from one)"', '"after step 1"', '"２²"', '"~1"',
            '"' + "1" * 5000 + '"',
        ]
    ),
    Case('<intervention>{"content": "We add 1."}</intervention>', defect="no step number"),
    Case('<replacement>[{"location": 3, "content": "a"}, {"location": "late"}]</replacement>', defect="no step number"),
    *(
        Case(f'<intervention>{{"location": {location}, "content": "We add."}}</intervention>', defect="outside the attempt")
        for location in ["13", "-1", '"Step 13"', '"-1"', "13.0", "1" + "0" * 30, '"Step 99: and so on"', '"12345-12346"']
    ),
    *(
        Case(f'<intervention>{{"location": 1, "content": {content}}}</intervention>', defect="no content")
        for content in [
            "null", '""', '" \\n"', "12", "true", '["a", "b"]', '{"text": "We add 1."}', '"..."', '"…"', '"[ ]"',
            '"THE REPLACEMENT STEP"', '"(the replacement step)"', '"[Corrected step here]"', '"Step 1:"',
        ]
    ),
    Case('<intervention>{"location": 1}</intervention>', defect="no content"),
    Case('<replacement>[{"location": 1}, {"location": 3, "content": "We add 9."}]</replacement>', defect="no content"),
    Case('<intervention>{"location": 1, "content": "Then a_1 = 1, so the sum grows."}</intervention>', defect="repeats the step"),
    *(
        Case(f'<intervention>{{"location": 1, "content": "{content}"}}</intervention>', defect="repeats the step")
        for content in ["Step 1: Then a_1 = 1, so the sum grows.", "Then  a_1 = 1,\\nso the sum grows"]
    ),
]  # fmt: skip
