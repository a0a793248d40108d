"""Data in, a table and a chart out: one job, in an interpreter of its own.

    python3 examples/chart.py [DIRECTORY]

It needs a runtime with pandas and matplotlib, preloaded at best: for example
KAA_PYTHON=venv/bin/python KAA_PRELOAD=pandas,matplotlib.pyplot. The chart and the file that
the code writes are put into the directory, the current one by default.
"""

import base64
import os
import sys
import urllib.parse

from client import Problem, call, request

DATA = "day,visitors\n" + "".join("%d,%d\n" % (day, 100 + 7 * day + 40 * (day % 7 == 6)) for day in range(1, 29))

CODE = """
import pandas as pd
import matplotlib.pyplot as plt

frame = pd.read_csv("visitors.csv")
frame["week"] = (frame.day - 1) // 7 + 1
weeks = frame.groupby("week").visitors.agg(["sum", "mean"])
weeks["sum"].plot.bar(title="Visitors a week")  # shown without a call, as it is open at the end
weeks.to_csv("weeks.csv")
weeks
"""


def main():
    where = sys.argv[1] if len(sys.argv) > 1 else "."
    try:
        result = call("POST", "/process/interpreter/execute", {
            "code": CODE, "timeout": 60, "files": [{"path": "visitors.csv", "content": DATA}],
        })
    except Problem as problem:
        sys.exit(str(problem))
    if result["status"] != "ok":
        sys.exit(result["error"].get("traceback") or result["error"]["value"])
    for value in result["results"]:
        if value["main"]:
            print(value["data"]["text/plain"])
        if "image/png" in value["data"]:
            with open(os.path.join(where, "chart.png"), "wb") as file:
                file.write(base64.b64decode(value["data"]["image/png"]))
            print("wrote chart.png")
    for found in result.get("files", []):
        with open(os.path.join(where, os.path.basename(found["path"])), "wb") as file:
            file.write(request("GET", "/v1/jobs/%s/files/%s" % (result["jobId"], urllib.parse.quote(found["path"]))))
        print("wrote", found["path"])


if __name__ == "__main__":
    main()
