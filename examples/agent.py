"""An agent's loop over one session: the model writes code, Kaa executes it, and what came of
it goes back to the model, until it says that it is done.

    python3 examples/agent.py

The model is a list of answers here, one of them wrong, so that the example runs anywhere.
Put a call of your model in the place of model().
"""

import json

from client import Session

TASK = "Which of these sales is the best, and by how much is it above the mean?"
FILES = [{"path": "sales.csv", "content": "month,sales\njan,120\nfeb,95\nmar,180\napr,125\n"}]

ANSWERS = iter([
    "import csv\nrows = list(csv.DictReader(open('sales.csv')))\nrows[0]",
    "best = max(rows, key=lambda row: row['sale'])",  # a mistake, which it will be told
    "best = max(rows, key=lambda row: int(row['sales']))\nmean = sum(int(row['sales']) for row in rows) / len(rows)",
    "print(best['month'], int(best['sales']) - mean)",
    None,
])


def model(messages):
    """Return the next code to execute, or None when it is done."""
    return next(ANSWERS)


def observation(result):
    """What a model should see of a result: short, and with all that helps it."""
    seen = {"status": result["status"]}
    for stream in "stdout", "stderr":
        if result[stream]:
            seen[stream] = result[stream][-4000:]
    values = [value["data"]["text/plain"] for value in result.get("results", [])]
    if values:
        seen["values"] = values
    if result.get("error"):
        seen["error"] = result["error"].get("traceback") or result["error"]["value"]
    return seen


def main():
    messages = [{"role": "user", "content": TASK}]
    with Session(idleTimeout=120) as session:
        files = FILES
        while True:
            code = model(messages)
            if code is None:
                break
            result = session.execute(code, timeout=10, files=files)
            files = None  # they stay
            seen = observation(result)
            print(">>> " + code.replace("\n", "\n... "))
            print(json.dumps(seen, indent=1))
            messages += [{"role": "assistant", "content": code}, {"role": "user", "content": json.dumps(seen)}]


if __name__ == "__main__":
    main()
