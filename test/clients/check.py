"""Checks the clients that were made of an OpenAPI document.

    check.py DOCUMENT TYPESCRIPT PACKAGE [URL]

Every operation of the document must be in both: in the file of TypeScript's types, and as a module of the
Python package that has a function to call it. With the URL of a Kaa, code is executed, a mistake
made, and a session opened, used and closed.
"""

import importlib
import json
import os
import re
import sys


def operations(document):
    """The operations' names, with the group that each is in."""
    for item in document["paths"].values():
        for operation in item.values():
            yield operation["operationId"], operation["tags"][0]


def snake(name):
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()


def check_typescript(names, path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    body = text[text.index("export interface operations {"):]
    found = set(re.findall(r"^    (\w+): \{$", body, re.MULTILINE))
    assert found == names, "TypeScript has %s, the document %s" % (sorted(found - names), sorted(names - found))


def check_python(package, document):
    made = {}
    for name, group in operations(document):
        module = importlib.import_module("%s.api.%s.%s" % (package, snake(group), snake(name)))
        assert callable(module.sync_detailed) and callable(module.asyncio_detailed), name
        made[name] = module
    return made


def try_python(package, api, url):
    client = importlib.import_module(package).Client(base_url=url)
    models = importlib.import_module(package + ".models")
    result = api["execute"].sync(client=client, body=models.ExecuteBody(code="print(6 * 7)", timeout=10))
    assert isinstance(result, models.Result) and result.stdout == "42\n" and result.exit_code == 0, result
    problem = api["execute"].sync(client=client, body=models.ExecuteBody(code="1", timeout=-1))
    assert isinstance(problem, models.Problem) and problem.status == 400, problem
    session = api["openSession"].sync(client=client, body=models.SessionBody())
    for code in "x = 21", "print(2 * x)":
        result = api["execute"].sync(client=client, body=models.ExecuteBody(code=code, session_id=session.id))
    assert result.stdout == "42\n", result
    api["closeSession"].sync_detailed(session.id, client=client)


def main():
    document_path, typescript, package = sys.argv[1:4]
    with open(document_path, encoding="utf-8") as file:
        document = json.load(file)
    names = {name for name, _ in operations(document)}
    sys.path.insert(0, os.path.dirname(os.path.abspath(package)))
    package = os.path.basename(package)
    check_typescript(names, typescript)
    api = check_python(package, document)
    if len(sys.argv) > 4:
        try_python(package, api, sys.argv[4])
    print("clients: %d operations in Python and TypeScript" % len(names))


main()
