"""Who may send requests."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt._serving.app import App
from fasttrt._serving.auth import ApiKeys, read_keys
from support.serving import error_of, get, loaded, models_of, post

KEYS = ("first-key_0123", "second/key+=")


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, False),
        ({"Authorization": "Bearer first-key_0123"}, True),
        ({"authorization": "bearer  second/key+="}, True),
        ({"X_Api_Key": "second/key+="}, True),
        ({"X_Api_Key": "second/key+"}, False),
        ({"X_Api_Key": ""}, False),
        ({"Authorization": "Bearer"}, False),
        ({"Authorization": "Basic first-key_0123"}, False),
        ({"Authorization": "Bearer nothing", "X_Api_Key": "second/key+="}, False),
        ({"X_Api_Key": "schlüssel"}, False),
    ],
)
def test_keys(engine: fasttrt.Engine, headers: dict[str, str], allowed: bool) -> None:
    app = App(models_of(loaded(engine)), keys=ApiKeys(KEYS))
    paths = ("/v2", "/v2/health/live", "/v2/models/m/infer", "/metrics", "/nowhere")
    responses = [get(app, path, **headers) for path in paths]
    statuses = [response.status for response in responses]
    assert statuses == ([200, 200, 405, 200, 404] if allowed else [401] * 5)
    if not allowed:
        assert dict(responses[0].headers)["WWW-Authenticate"] == "Bearer"
        assert "expected an API key" in error_of(responses[0])
        assert all(key not in error_of(responses[0]) for key in KEYS)


def test_health_and_metrics_may_be_exempt(engine: fasttrt.Engine) -> None:
    app = App(models_of(loaded(engine)), keys=ApiKeys(KEYS, exempt=("health",)))
    health = ("/v2/health/live", "/v2/health/ready", "/v2/models/m/ready")
    assert [get(app, path).status for path in health] == [200, 200, 200]
    assert get(app, "/metrics").status == get(app, "/v2").status == 401
    app = App(models_of(loaded(engine)), keys=ApiKeys(KEYS, exempt=("metrics",)))
    assert [get(app, path).status for path in ("/metrics", *health)] == [200, 401, 401, 401]
    assert post(app, "/v2/repository/index").status == 401


def test_every_key_is_compared_in_constant_time(
    engine: fasttrt.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[Any, Any]] = []
    compare = hmac.compare_digest

    def watched(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return compare(a, b)

    app = App(models_of(loaded(engine)), keys=ApiKeys(KEYS))
    monkeypatch.setattr(hmac, "compare_digest", watched)
    for key in (KEYS[0], "x", "first-key_0124" * 1000):
        get(app, "/v2", X_Api_Key=key)
    assert len(compared) == 6
    assert all(len(a) == len(b) == 32 for a, b in compared)


def test_files_of_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# of the team\n\n  first-key_0123 \nsecond/key+=\n")
    assert read_keys(file) == list(KEYS)
    for content, message in (
        ("# none\n", "an API key in each line, got none"),
        ("two words\n", "without spaces"),
        ("schlüssel\n", "in ASCII"),
    ):
        file.write_text(content)
        with pytest.raises(fasttrt.FileError, match=message):
            read_keys(file)
    with pytest.raises(FileNotFoundError):
        read_keys(tmp_path / "missing")


@pytest.mark.parametrize(
    ("site", "status"),
    [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)],
)
def test_pages_of_other_sites_control_nothing(
    engine: fasttrt.Engine, site: str, status: int
) -> None:
    app = App(models_of(loaded(engine)))
    assert post(app, "/v2/repository/index", Sec_Fetch_Site=site).status == status
    assert get(app, "/v2/models/m", Sec_Fetch_Site=site).status == 200
    load = post(app, "/v2/repository/models/m/load", Sec_Fetch_Site=site)
    assert load.status == (403 if status == 403 else 503)
    assert (status == 403) == (f"got a {site} one" in error_of(load))


def test_the_page_needs_no_key_and_what_it_shows_does(engine: fasttrt.Engine) -> None:
    app = App(models_of(loaded(engine)), keys=ApiKeys(KEYS))
    for path in ("/ui", "/ui/"):
        assert get(app, path).status == 200
    assert get(app, "/ui/x").status == get(app, "/v2/overview").status == 401
    assert post(app, "/ui").status == 405
