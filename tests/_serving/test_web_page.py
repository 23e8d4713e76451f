"""The page at ``/ui``, in a browser: what it shows, its buttons, its key, its safety."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tritonclient.http

import fasttrt
from fasttrt._cli.top_rates import percentile
from fasttrt._serving.engine_settings import EngineDefaults
from fasttrt._serving.model_source import open_source
from fasttrt._serving.models import Models
from fasttrt._serving.request_counters import LATENCY_BOUNDS_NS
from fasttrt._serving.server import Server
from fasttrt._serving.server_options import ServerOptions
from fasttrt._serving.web_page import web_page
from support.browser import CHROMIUM, Page, browsing
from support.models import Model, mlp
from support.randomness import new_rng
from support.threads import under_load

KEY = "a-key_0123"
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not here")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture(scope="module")
def model() -> Model:
    return mlp()


@contextmanager
def serving(
    tmp_path: Path, model: Model, control: Literal["none", "explicit"], **options: Any
) -> Iterator[Server]:
    """Serve the model mlp, beside which there is one that is no model."""
    for name, content in (("mlp", model.to_bytes()), ("bad", b"no model")):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "model.onnx").write_bytes(content)
    defaults = EngineDefaults({"device": "cpu"})
    models = Models(open_source(tmp_path), defaults=defaults, control=control)
    with Server(models, ServerOptions(http_port=0, metrics_port=None, **options)) as server:
        models.start(["mlp"])
        yield server


def load(server: Server, model: Model, name: str = "mlp") -> Any:
    """Return what sends requests of 3 rows until it is told to stop."""
    (x,) = model.inputs(batch=3)
    tensor = tritonclient.http.InferInput("x", list(x.shape), "FP32").set_data_from_numpy(x)

    def work(is_over: threading.Event) -> None:
        with tritonclient.http.InferenceServerClient(server.url) as client:
            while not is_over.is_set():
                client.infer(name, [tensor])

    return work


def is_harmless(page: Page, server: Server) -> bool:
    """Whether the page broke none of its rules, and asked nobody but its server."""
    found = [url for url in page.requests if not url.startswith(f"http://{server.url}/")]
    return [*page.errors, *(url for url in found if not url.startswith("data:"))] == []


def test_the_page_is_whole_and_its_policy_strict() -> None:
    response = web_page()
    headers = dict(response.headers)
    html = bytes(response.body).decode()
    assert "{{" not in html
    assert re.findall(r"(?:src|href|action)=.{0,10}", html) == ['href="data:imag']
    assert not re.search(r"@import|url\(|innerHTML|insertAdjacent|eval\(|Function\(", html)
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


@needs_browser
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_what_a_server_does(
    page: Page, engine: fasttrt.Engine, mlp_model: Model, width: int, dark: bool
) -> None:
    name = "<img src=x onerror=alert(1)> & <b>"
    with fasttrt.serve({name: engine}, http_port=0, metrics_port=None) as server:
        with under_load([load(server, mlp_model, name)]):
            page.open(f"http://{server.url}/ui/", width=width, dark=dark)
            page.wait("document.querySelectorAll('#models svg').length === 3")
            page.wait("document.querySelector('#models .bar') !== null")
            page.wait("document.querySelector('#models .line.p99').getAttribute('d') !== ''")
        text = page.text()
        assert f"{name}/1" in text
        assert "READY" in text
        assert re.search(r"models ready\s+1 of 1", text)
        assert re.search(r"p99, ms\s+\d", text)
        assert re.search(r"mean batch\s+3", text)
        assert page.value("document.querySelector('#models button').hidden") is True
        assert page.value("document.images.length + document.querySelectorAll('b').length") == 1
        assert page.value("document.documentElement.scrollWidth") <= width
        bright = page.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)")
        assert (sum(map(int, bright)) < 128 * 3) == dark
        assert is_harmless(page, server)


@needs_browser
def test_buttons_load_and_unload(page: Page, tmp_path: Path, model: Model) -> None:
    with serving(tmp_path, model, "explicit") as server:
        page.open(f"http://{server.url}/ui")
        page.wait("document.querySelectorAll('#models article').length === 2")
        assert re.search(r"bad\s+UNLOADED", page.text())
        page.click("#models article:last-child button")
        assert "Really unload?" in page.text()
        assert server.is_ready
        page.click("#models article:last-child button")
        page.wait("document.querySelector('#models').innerText.includes('UNAVAILABLE')")
        assert not server._models.ready_models()
        page.wait("document.querySelector('#models article:last-child button').innerText == 'Load'")
        page.click("#models article:last-child button")
        page.wait("document.querySelector('#models').innerText.includes('READY')")
        assert [m.name for m in server._models.ready_models()] == ["mlp"]
        page.click("#models article:first-child button")
        page.wait("document.querySelector('#models').innerText.includes('not an ONNX model')")
        page.errors = [error for error in page.errors if "400" not in error]  # the failed load
        assert is_harmless(page, server)


@needs_browser
def test_a_key_is_asked_for_and_a_server_may_be_away(
    page: Page, tmp_path: Path, model: Model
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n")
    with serving(tmp_path / "models", model, "none", api_key_file=keys) as server:
        page.open(f"http://{server.url}/ui")
        page.wait("!document.querySelector('#key-form').hidden")
        assert page.value("document.querySelector('#content').hidden") is True
        page.type("another")
        page.wait("document.querySelector('#problem').innerText === 'The server refuses this key.'")
        page.type(KEY)
        page.wait("document.querySelectorAll('#models article').length === 2")
        assert page.value("document.querySelector('#models').innerText.includes('load')") is False
        page.errors = [error for error in page.errors if "401" not in error]
        assert is_harmless(page, server)
    page.wait("document.querySelector('#problem').innerText.includes('cannot be reached')")
    page.errors.clear()


@needs_browser
def test_percentiles_are_those_of_fasttrt_top(page: Page, engine: fasttrt.Engine) -> None:
    with fasttrt.serve({"m": engine}, http_port=0, metrics_port=None) as server:
        page.open(f"http://{server.url}/ui")
        bounds = [ns / 1000 for ns in LATENCY_BOUNDS_NS]
        times = new_rng().lognormal(6, 2, 500)
        counts = np.bincount(np.searchsorted(bounds, times), minlength=len(bounds) + 1).tolist()
        for share in (0.5, 0.9, 0.99):
            found = page.value(f"percentile({json.dumps(bounds)}, {json.dumps(counts)}, {share})")
            assert found == pytest.approx(percentile(bounds, counts, share), rel=1e-9)
