"""Text as a terminal may see it: names come from files, and could be commands to the terminal."""

import unicodedata


def printable(text: str) -> str:
    """The text with whatever is no character to be seen written as an escape.

    Those are control characters (escape sequences begin with one), characters that change the
    direction of what follows, and bytes that are no UTF-8. Line breaks are, too: for names, cells
    and lines.
    """
    if text.isprintable():
        return text
    return "".join(map(_seen, text))


def printable_lines(text: str) -> str:
    """The same for a text of several lines, whose line breaks stay."""
    return "\n".join(map(printable, text.split("\n")))


def message(text: str) -> str:
    """The same for a message: lines after the first are indented, so that none looks like another.

    A name with a line break could otherwise pass for a message of its own.
    """
    first, *others = printable_lines(text).split("\n")
    return "\n".join([first, *(o if o.startswith(" ") or not o else f"  {o}" for o in others)])


def _seen(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte of a file's name
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode()
