"""Just enough C++ lexing for the layering check: no preprocessor, no types."""

import re

# Longest first: raw strings before strings before comments and characters.
TOKEN = re.compile(
    r'R"(?P<tag>[^()\s\\]{0,16})\((?:.*?)\)(?P=tag)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|//[^\n]*"
    r"|/\*.*?\*/"
    # Not the digit separator of 10'000.
    r"|(?<![0-9a-zA-Z_])'(?:\\.|[^'\\\n])+'",
    re.S,
)
# What opens a block that holds declarations rather than statements.
SCOPE = re.compile(
    r"^\s*(?:template\s*<.*>\s*)?(?:inline\s+)?(?:typedef\s+)?"
    r"(?:namespace|class|struct|union|enum|extern)\b(?!.*\)\s*(?:const)?\s*$)",
    re.S,
)
PREPROCESSOR = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)


def blank(match):
    return re.sub(r"[^\n]", " ", match[0])


def without_comments_and_strings(text):
    """The text with comments, strings and characters blanked; every line keeps its place."""

    def replace(match):
        found = match[0]
        if found.startswith(("//", "/*")):
            return blank(match)
        return '"' + re.sub(r"[^\n]", " ", found[1:-1]) + '"'

    return TOKEN.sub(replace, text)


def functions(code):
    """(first line, last line) of each function body in code without comments and strings."""
    code = PREPROCESSOR.sub(blank, code)
    depth_of_function = None  # brace depth at which the function being read began
    scopes = 0  # open blocks around it
    began = start = 0
    for match in re.finditer(r"[{};]", code):
        token, at = match[0], match.start()
        if token == "{":
            head = code[began:at]
            if depth_of_function is None:
                if "(" in head and not SCOPE.match(head) and not head.rstrip().endswith("="):
                    depth_of_function = scopes
                    start = began + len(head) - len(head.lstrip())
            scopes += 1
        elif token == "}":
            scopes -= 1
            if depth_of_function == scopes:
                yield code.count("\n", 0, start) + 1, code.count("\n", 0, at) + 1
                depth_of_function = None
        if depth_of_function is None:
            began = at + 1
