// Programs to start from. They need the standard library only, unless needs names a package.
export interface Example { title: string; code: string; needs?: string; once?: boolean; stdin?: string }

export const examples: Example[] = [
  {
    title: 'Hello', code: `import platform

print("Hello from Python", platform.python_version())
6 * 7
`,
  },
  {
    title: 'Ask for input', code: `name = input("What is your name? ")
for n in range(1, 4):
    print(f"{n}. Nice to meet you, {name}!")
`,
  },
  {
    title: 'A chart', needs: 'matplotlib', code: `import math
import matplotlib.pyplot as plt

x = [n / 20 for n in range(200)]
plt.plot(x, [math.sin(v) * math.exp(-v / 5) for v in x], label="damped")
plt.plot(x, [math.sin(v) for v in x], "--", alpha=0.5, label="free")
plt.xlabel("t")
plt.legend()
plt.title("Two oscillators");
`,
  },
  {
    title: 'A table', needs: 'pandas', code: `import pandas as pd

frame = pd.DataFrame({
    "city": ["Oslo", "Lima", "Pune", "Cork"],
    "people": [709_037, 10_092_000, 4_307_000, 224_004],
    "rain (mm)": [763, 6, 741, 1_239],
})
frame.sort_values("people", ascending=False)
`,
  },
  {
    title: 'Progress and colours', code: `import sys, time

for n in range(41):
    bar = "█" * n + "░" * (40 - n)
    print(f"\\r\\x1b[32m{bar}\\x1b[0m {n * 100 // 40:3d} %", end="", flush=True)
    time.sleep(0.03)
print()
print("\\x1b[1mbold\\x1b[0m \\x1b[3mitalic\\x1b[0m \\x1b[4munderlined\\x1b[0m \\x1b[31mred\\x1b[0m \\x1b[38;2;255;140;0morange\\x1b[0m")
print("and this is on stderr", file=sys.stderr)
`,
  },
  {
    title: 'An error to read', code: `def mean(values):
    return sum(values) / len(values)


def report(rows):
    for name, values in rows.items():
        print(name, mean(values))


report({"a": [1, 2, 3], "b": []})
`,
  },
  {
    title: 'HTML, Markdown and JSON', code: `class Rich:
    def __init__(self, **forms):
        self.forms = forms

    def _repr_html_(self):
        return self.forms.get("html")

    def _repr_markdown_(self):
        return self.forms.get("markdown")

    def _repr_json_(self):
        return self.forms.get("json")


display(Rich(markdown="# A heading\\n\\nSome *emphasis*, and a list:\\n\\n- one\\n- two"))
display(Rich(html="<table><tr><th>n</th><th>n²</th></tr>" + "".join(f"<tr><td>{n}</td><td>{n * n}</td></tr>" for n in range(5)) + "</table>"))
Rich(json={"name": "Kaa", "tags": ["python", "sandbox"], "nested": {"list": list(range(5))}})
`,
  },
  {
    title: 'A picture in SVG', code: `import math


class Flower:
    def _repr_svg_(self):
        petals = "".join(
            f'<ellipse cx="150" cy="80" rx="22" ry="60" fill="hsl({n * 30} 70% 60%)" fill-opacity=".7" transform="rotate({n * 30} 150 150)"/>'
            for n in range(12)
        )
        return f'<svg xmlns="http://www.w3.org/2000/svg" width="300" height="300">{petals}<circle cx="150" cy="150" r="26" fill="#f5c542"/></svg>'


Flower()
`,
  },
  {
    title: 'Files that come back', code: `import csv, pathlib

with open("squares.csv", "w", newline="") as f:
    out = csv.writer(f)
    out.writerow(["n", "square"])
    out.writerows((n, n * n) for n in range(1, 11))

pathlib.Path("notes").mkdir(exist_ok=True)
pathlib.Path("notes/readme.txt").write_text("These files are in the tab Files, and below the output.\\n")
sorted(str(p) for p in pathlib.Path(".").rglob("*"))
`,
  },
  {
    title: 'Variables that stay', code: `# Run this again and again: the session keeps the variable.
try:
    visits += 1
except NameError:
    visits = 1
print("run", visits, "of this session")
# Then make a checkpoint in the tab State, run it some more, and roll back.
`,
  },
  {
    title: 'A long output', code: `for n in range(20_000):
    print(f"{n:6d}  {'#' * (n % 60)}")
`,
  },
  {
    title: 'What the sandbox allows', code: `import os, socket

print("user", os.getuid(), "on", os.uname().nodename)
print("processes", [p for p in os.listdir("/proc") if p.isdigit()])
for what, attempt in {
    "read /etc/shadow": lambda: open("/etc/shadow").read(),
    "write to /usr": lambda: open("/usr/x", "w"),
    "reach the network": lambda: socket.create_connection(("192.0.2.1", 80), timeout=2),
}.items():
    try:
        attempt()
        print(what, "-> allowed")
    except OSError as err:
        print(what, "->", type(err).__name__, err)
`,
  },
  {
    title: 'Processor and memory', code: `import resource, time

began = time.perf_counter()
primes = [n for n in range(2, 20_000) if all(n % d for d in range(2, int(n ** 0.5) + 1))]
print(len(primes), "primes in", round(time.perf_counter() - began, 3), "s")
data = bytearray(64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MiB at most")
`,
  },
]
