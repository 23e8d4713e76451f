"""The page at ``/ui``: one HTML document with its style and script in it.

Nothing of it comes from elsewhere. It holds no data: its script asks for ``/v2/overview``, with the
API key that the user gives it.
"""

import functools
import hashlib
from base64 import b64encode
from importlib.resources import files

from fasttrt._serving.http import Response

_SCRIPTS = ("rates.js", "charts.js", "elements.js", "cards.js", "page.js")


@functools.cache
def web_page() -> Response:
    """Return the page. Its policy lets it run its own script only, and ask its own server only."""
    folder = files("fasttrt._serving") / "web"
    style = (folder / "style.css").read_text("utf-8")
    script = "".join((folder / name).read_text("utf-8") for name in _SCRIPTS)
    html = (folder / "page.html").read_text("utf-8")
    html = html.replace("{{style}}", style).replace("{{script}}", script)
    policy = (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    headers = (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cache-Control", "no-cache"),
    )
    return Response(200, headers, html.encode())


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
