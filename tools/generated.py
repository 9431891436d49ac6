"""For the generators: write what they made, or with --check compare it with what is there."""
import sys

import csource


def finish(texts):
    """texts: path from the root -> text. Returns the exit status."""
    stale = []
    for name, text in texts.items():
        path = csource.ROOT / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv[1:]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv[1:]:
        print("out of date (make docs writes them):", ", ".join(stale))
        return 1
    return 0


def roff(text):
    """Text for troff: what it would take for a request or an escape is made plain."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text
