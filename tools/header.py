"""Reads include/allot.h: its sections, and each declaration with the comment before it."""
import re

import csource

PATH = csource.ROOT / "include" / "allot.h"
_SECTION = re.compile(r"^// -{4} (.+?) -{4,}$")
_PARAMETER = re.compile(r"^  (\w+(?:, \w+)*)  +(\S.*)$")


class Entry:
    """A declaration: section, comment (lines without ///), C text without attributes."""

    def __init__(self, section, line, comment, declaration):
        self.section = section
        self.line = line
        self.declaration = declaration
        self.paragraphs, self.parameter_docs = _split(comment)

    @property
    def is_function(self):
        return re.match(r"[^({=]*\b\w+\(", self.declaration) is not None \
            and not self.declaration.startswith("#")

    @property
    def name(self):
        if self.is_function:
            return re.search(r"(\w+)\(", self.declaration).group(1)
        found = re.search(r"(?:#define|struct)\s+(\w+)|\(\*(\w+)\)|(\w+);", self.declaration)
        return found.group(found.lastindex)

    @property
    def parameters(self):
        text = self.declaration[self.declaration.index("(") + 1:self.declaration.rindex(")")]
        return [] if text.strip() == "void" else [
            re.search(r"(\w+)\s*$", part).group(1) for part in text.split(",")]


def _split(comment):
    """Paragraphs of text, and the parameters with what is said of them, in order."""
    paragraphs = []
    parameters = {}
    last = None
    for line in comment:
        match = _PARAMETER.match(line)
        if match:
            last = match.group(1)
            parameters[last] = match.group(2)
        elif last and line.startswith("    "):
            parameters[last] += " " + line.strip()
        else:
            last = None
            if not line.strip():
                paragraphs.append([])
            elif re.match(r"(Returns|Threads:|Cost:)", line):
                paragraphs.append([line.strip()])
            else:
                if not paragraphs:
                    paragraphs.append([])
                paragraphs[-1].append(line.strip())
    return [" ".join(p) for p in paragraphs if p], parameters


def _plain(declaration):
    """A declaration as a user would write it."""
    text = re.sub(r"\b(ALLOT_API|ALLOT_ALLOCATES|ALLOT_SIZED\([^)]*\))\s*", "", declaration)
    return re.sub(r"\s+", " ", text).replace(" ;", ";").strip()


def introduction():
    """The comment that opens the header, without the line that names the file."""
    lines = []
    for line in PATH.read_text(encoding="utf-8").split("\n")[1:]:
        if not line.startswith("//"):
            break
        lines.append(line[2:].strip())
    return [" ".join(p.split()) for p in "\n".join(lines).split("\n\n") if p.strip()]


def entries():
    """Every documented declaration, in order."""
    found = []
    section = ""
    comment = []
    lines = PATH.read_text(encoding="utf-8").split("\n")
    number = 0
    while number < len(lines):
        line = lines[number]
        match = _SECTION.match(line)
        if match:
            section = match.group(1)
        if line.startswith("///"):
            comment.append(line[4:])
        elif comment or line.startswith("ALLOT_API"):
            first = number
            if line.startswith("#define"):
                text = line
            else:
                while lines[first].startswith("#"):  # a pragma of the compiler
                    first += 1
                number = first
                closing = "};" if "{" in lines[first] else ";"
                while closing not in csource.code_of(lines[number]):
                    number += 1
                text = "\n".join(lines[first:number + 1])
            if line.startswith("//"):  # a comment that belongs to nothing
                text = line
            plain = text if "{" in text else _plain(text)
            found.append(Entry(section, first + 1, comment, plain))
            comment = []
        number += 1
    return found


def fields(entry):
    """For a struct: each field as declaration and comment."""
    found = []
    for line in entry.declaration.split("\n"):
        match = re.match(r"\s+(\w[\w\s*\[\]]*;)\s*///<\s*(.*)$", line)
        more = re.match(r"\s+///<\s*(.*)$", line)
        if match:
            found.append([match.group(1), match.group(2)])
        elif more and found:
            found[-1][1] += " " + more.group(1)
    return found


def version():
    """The version that the header declares, such as 1.0.0."""
    text = PATH.read_text(encoding="utf-8")
    return ".".join(re.search(rf"ALLOT_VERSION_{part} (\d+)", text).group(1)
                    for part in ("MAJOR", "MINOR", "PATCH"))
