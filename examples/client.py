"""What the examples need of a client: standard library only.

KAA_URL says where Kaa is (http://127.0.0.1:8080), KAA_API_KEY is sent if it is set.
"""

import json
import os
import urllib.error
import urllib.request

URL = os.environ.get("KAA_URL", "http://127.0.0.1:8080").rstrip("/")


class Problem(Exception):
    """An answer of 4xx or 5xx: RFC 9457's members are in body."""

    def __init__(self, status, body):
        super().__init__("%d %s: %s" % (status, body.get("code", ""), body.get("detail", "")))
        self.status, self.body = status, body


def request(method, path, body=None):
    """Send JSON; return the bytes of the answer."""
    headers = {"Content-Type": "application/json"}
    if os.environ.get("KAA_API_KEY"):
        headers["Authorization"] = "Bearer " + os.environ["KAA_API_KEY"]
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(URL + path, data, headers, method=method)) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        raise Problem(error.code, json.loads(error.read() or b"{}")) from None
    except urllib.error.URLError as error:
        raise SystemExit("Nothing answers at %s (KAA_URL): %s. Is Kaa running there? Start it with make run." % (URL, error.reason)) from None


def call(method, path, body=None):
    return json.loads(request(method, path, body) or b"null")


class Session:
    """An interpreter whose variables and files stay, until the end of the with block."""

    def __init__(self, id=None, **options):
        self.id = id or call("POST", "/v1/sessions", options)["id"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            call("DELETE", "/v1/sessions/" + self.id)
        except Problem as problem:
            if problem.status != 410:  # it has ended by itself
                raise

    def execute(self, code, **options):
        """Execute code and return its result. That it fails is in there, and no exception."""
        return call("POST", "/process/interpreter/execute", dict(options, code=code, sessionId=self.id))

    def fork(self, count=1):
        answer = call("POST", "/v1/sessions/%s/fork" % self.id, {"count": count})
        return [Session(copy["id"]) for copy in answer["sessions"]]
