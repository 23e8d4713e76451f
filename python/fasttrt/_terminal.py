"""Text made safe for a terminal: names come from files and could contain escape sequences."""

import unicodedata


def printable(text: str) -> str:
    """Escape every character of a text that is not printable.

    Control characters (escape sequences begin with one), characters that change the direction of
    the text after them, bytes that are not UTF-8, and line breaks: for names, cells and lines.
    """
    if text.isprintable():
        return text
    return "".join(map(_escape, text))


def printable_lines(text: str) -> str:
    """Escape a text of several lines as `printable` does, but keep its line breaks."""
    return "\n".join(map(printable, text.split("\n")))


def message(text: str) -> str:
    """Escape a message as `printable_lines` does, and indent all lines but the first.

    Otherwise a name with a line break in it could pass for a separate message.
    """
    first, *others = printable_lines(text).split("\n")
    return "\n".join([first, *(o if o.startswith(" ") or not o else f"  {o}" for o in others)])


def _escape(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    if 0xDC80 <= ord(character) <= 0xDCFF:  # an undecodable byte of a file name
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode()
