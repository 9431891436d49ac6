"""A light reader of C source for the checks: no preprocessor, no types, but exact about comments,
strings, braces and where functions begin and end."""
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent

_TOKEN = re.compile(r"""//(?:\\\n|[^\n])*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""",
                    re.DOTALL)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)
_CONTROL = {"if", "for", "while", "switch", "else", "do"}


def files(*patterns):
    """The files under version control or about to be, as paths from the root, sorted."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    return sorted({name for name in listed if name and (ROOT / name).is_file()})


def _blank(match):
    """As long as the match, with the same line ends; quotes stay, so that a string is a token."""
    text = match.group(0)
    hollow = re.sub(r"[^\n]", " ", text)
    return hollow if text.startswith("/") else text[0] + hollow[1:-1] + text[-1]


def code_of(text):
    """The text with comments and the insides of strings blanked, places unchanged."""
    return _TOKEN.sub(_blank, text)


def without_directives(code):
    """Code without preprocessor lines, places unchanged."""
    return _DIRECTIVE.sub(_blank_all, code)


def _blank_all(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def directives(code):
    """Each preprocessor line: its line number, its text."""
    for match in _DIRECTIVE.finditer(code):
        yield code.count("\n", 0, match.start()) + 1, match.group(0).strip()


class Function:
    """A function definition: name, first and last line, parameters, deepest nesting."""

    def __init__(self, name, first_line, parameter_count):
        self.name = name
        self.first_line = first_line
        self.last_line = first_line
        self.parameter_count = parameter_count
        self.nesting = 0

    @property
    def line_count(self):
        return self.last_line - self.first_line + 1


def _before(code, place):
    """What ends just before a place: the last character and the last word."""
    head = code[:place].rstrip()
    word = re.search(r"\w*$", head).group(0)
    return head[-1:], word


def _matching_open(code, close):
    """The place of the parenthesis that the one at `close` ends."""
    depth = 0
    for place in range(close, -1, -1):
        if code[place] == ")":
            depth += 1
        elif code[place] == "(":
            depth -= 1
            if depth == 0:
                return place
    return -1


def _head_of(code, brace):
    """For a brace at file level: the Function that it opens, or None."""
    end = len(code[:brace].rstrip()) - 1
    while end >= 0 and code[end] == ")":
        start = _matching_open(code, end)
        name = re.search(r"(\w+)\s*$", code[:start])
        if name is None:
            return None
        if name.group(1) in ("__attribute__", "__asm__", "ALLOT_SIZED"):
            end = len(code[:name.start()].rstrip()) - 1
            continue
        declaration = max(code.rfind(mark, 0, start) for mark in (";", "}", "{")) + 1
        first = declaration + len(code[declaration:]) - len(code[declaration:].lstrip())
        return Function(name.group(1), code.count("\n", 0, first) + 1,
                        _count_parameters(code[start + 1:end]))
    return None


def _count_parameters(text):
    depth = 0
    count = 1
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        count += char == "," and depth == 0
    return 0 if text.strip() in ("", "void") else count


def functions(code):
    """The functions that blanked code defines, in order."""
    code = without_directives(code)
    found = []
    stack = []  # for each open brace: does it count as nesting
    current = None
    for match in re.finditer(r"[{}]", code):
        place = match.start()
        if match.group(0) == "{":
            if not stack:
                current = _head_of(code, place)
            char, word = _before(code, place)
            nests = bool(stack) and (char == ")" or word in _CONTROL)
            stack.append(nests)
            if current is not None:
                current.nesting = max(current.nesting, sum(stack))
        elif stack:
            stack.pop()
            if not stack and current is not None:
                current.last_line = code.count("\n", 0, place) + 1
                found.append(current)
                current = None
    return found


def strip_linkage(code):
    """Code without the braces of extern "C" blocks, which would hide the functions inside."""
    for match in reversed(list(re.finditer(r'extern\s+" "\s*\{', code))):
        depth = 0
        for place in range(match.end() - 1, len(code)):
            depth += (code[place] == "{") - (code[place] == "}")
            if depth == 0:
                code = code[:place] + " " + code[place + 1:]
                break
        code = code[:match.end() - 1] + " " + code[match.end():]
    return code
