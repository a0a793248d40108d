"""Fork and compare: prepare once, try several ways on from there at the same time, go on with
the best one.

    python3 examples/search.py

What is dear to prepare is prepared once. Each copy has all of it, variables, modules and files,
without loading anything again, and none sees what another does.
"""

from concurrent.futures import ThreadPoolExecutor

from client import Session

PREPARE = """
import random
random.seed(7)
points = [(x / 10, 3 * (x / 10) ** 2 - 2 * (x / 10) + 1 + random.gauss(0, 0.5)) for x in range(100)]

def fit(degree, rounds=300, rate=0.5):
    "Fit a polynomial by gradient descent, return its mean square error."
    weights = [0.0] * (degree + 1)
    for _ in range(rounds):
        slope = [0.0] * (degree + 1)
        for x, y in points:
            x /= 10
            wrong = sum(w * x ** i for i, w in enumerate(weights)) - y
            for i in range(degree + 1):
                slope[i] += wrong * x ** i / len(points)
        weights = [w - rate * s for w, s in zip(weights, slope)]
    return sum((sum(w * (x / 10) ** i for i, w in enumerate(weights)) - y) ** 2 for x, y in points) / len(points)
"""

WAYS = ["degree = 1", "degree = 2", "degree = 3", "degree = 4"]


def main():
    with Session() as session:
        session.execute(PREPARE)
        copies = session.fork(len(WAYS))
        try:
            with ThreadPoolExecutor(len(WAYS)) as pool:
                results = list(pool.map(lambda copy, way: copy.execute(way + "\nerror = fit(degree)\nerror"), copies, WAYS))
            errors = [float(result["results"][0]["data"]["text/plain"]) for result in results]
            for way, error in zip(WAYS, errors):
                print("%-12s %10.3f" % (way, error))
            best = copies[errors.index(min(errors))]
            print("going on with", best.execute("degree")["results"][0]["data"]["text/plain"], end=": ")
            print("%.3f" % float(best.execute("fit(degree, rounds=1000)")["results"][0]["data"]["text/plain"]))
        finally:
            for copy in copies:
                copy.__exit__()


if __name__ == "__main__":
    main()
