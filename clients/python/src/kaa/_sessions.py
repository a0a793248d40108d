"""Operations on sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._lists import every
from ._steps import Request, Steps, at, send
from .errors import Gone, NotFound


def create(body: Mapping[str, Any], name: str | None) -> Steps[dict[str, Any]]:
    """Open a session, or make sure that there is one of a name."""
    if name is None:
        request = Request("POST", "/v1/sessions", json=body)
    else:
        request = Request("PUT", at("sessions", "by-name", name), json=body, repeatable=True)
    answer = yield from send(request)
    return dict(answer.json())


def look(session: str) -> Steps[dict[str, Any]]:
    answer = yield from send(Request("GET", at("sessions", session)))
    return dict(answer.json())


def listing(metadata: Mapping[str, str] | None) -> Steps[list[dict[str, Any]]]:
    wanted = [f"{name}={value}" for name, value in (metadata or {}).items()]
    return every("/v1/sessions", "sessions", {"limit": "100", "metadata": wanted})


def change(session: str, body: Mapping[str, Any]) -> Steps[dict[str, Any]]:
    answer = yield from send(Request("PATCH", at("sessions", session), json=body))
    return dict(answer.json())


def end(session: str) -> Steps[None]:
    """End a session. One that has ended already is no error."""
    try:
        yield from send(Request("DELETE", at("sessions", session)))
    except (Gone, NotFound):
        pass


def port(session: str, number: int) -> Steps[dict[str, Any]]:
    """Return the addresses of a port."""
    answer = yield from send(Request("GET", at("sessions", session, "ports", str(number)), repeatable=True))
    return dict(answer.json())


def tell(session: str, what: str, body: Mapping[str, Any] | None = None) -> Steps[dict[str, Any]]:
    """Send an operation such as `fork`, and return its answer."""
    answer = yield from send(Request("POST", at("sessions", session, what), json=body if body is not None else {}, read=150.0))
    return dict(answer.json()) if answer.body else {}
