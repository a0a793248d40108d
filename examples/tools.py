"""Tools: code of a model calls functions that stay on this side.

    python3 examples/tools.py

The code runs in a session in Kaa; the weather and the stock are here, where the keys and the network
are. One round with the model does what would take a round for each call: the code loops over
tools, calls several at once, keeps what it found in variables, and prints only what matters.
"""

import json
import os
import threading
import urllib.request

from client import URL, Problem, Session, call

WEATHER = {"Rome": 31, "Oslo": 12, "Lima": 19}


def temperature(city):
    """Return the temperature in a city, in degrees."""
    if city not in WEATHER:
        raise LookupError("no station in " + city)
    return WEATHER[city]


def order(item, count=1):
    """Order an item and return what it costs."""
    return {"item": item, "count": count, "euros": 4.5 * count}


# What a model would have written, told of both functions.
CODE = """
import asyncio
cities = ["Rome", "Oslo", "Paris", "Lima"]
found = await asyncio.gather(*(temperature(city) for city in cities), return_exceptions=True)
for city, degrees in zip(cities, found):
    print(city, degrees)
hot = [city for city, degrees in zip(cities, found) if not isinstance(degrees, Exception) and degrees > 25]
"""
NEXT = """
bill = [order("ice cream", count=3) for city in hot]
print("ordered for", hot, "for", sum(b["euros"] for b in bill), "euros")
"""


def parameters(function):
    """Return the JSON Schema of a function's arguments."""
    names = function.__code__.co_varnames[:function.__code__.co_argcount]
    required = names[:len(names) - len(function.__defaults__ or ())]
    return {"type": "object", "properties": {name: {} for name in names}, "required": list(required)}


class Tools:
    """Functions that the code of a session may call."""

    def __init__(self, *functions):
        self.functions = {function.__name__: function for function in functions}
        self.offers = [{"name": f.__name__, "description": f.__doc__, "schema": parameters(f)} for f in functions]

    def answer(self, job, event):
        """Call a function and send what it returns or raises. Each runs in a thread of its own."""
        try:
            reply = {"value": self.functions[event["name"]](**event["arguments"])}
        except Exception as error:
            reply = {"error": {"name": type(error).__name__, "message": str(error)}}
        try:
            call("POST", "/v1/jobs/%s/calls/%s" % (job, event["callId"]), reply)
        except Problem as problem:
            if problem.status not in (409, 410):  # the code does not wait any more
                raise

    def execute(self, session, code):
        """Execute code that may call them, and print what it prints."""
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        if os.environ.get("KAA_API_KEY"):
            headers["Authorization"] = "Bearer " + os.environ["KAA_API_KEY"]
        body = json.dumps({"code": code, "sessionId": session.id, "functions": self.offers}).encode()
        job = None
        with urllib.request.urlopen(urllib.request.Request(URL + "/process/interpreter/execute", body, headers)) as events:
            for line in events:
                if not line.startswith(b"data: "):
                    continue
                event = json.loads(line[6:])
                job = event.get("jobId", job)
                if event["type"] == "call":
                    threading.Thread(target=self.answer, args=(job, event)).start()
                elif event["type"] == "stream":
                    print(event["text"], end="")
                elif event["type"] == "error":
                    print(event.get("traceback") or event.get("detail"))


if __name__ == "__main__":
    tools = Tools(temperature, order)
    with Session() as session:
        tools.execute(session, CODE)
        tools.execute(session, NEXT)
