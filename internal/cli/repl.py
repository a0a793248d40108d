# Answers questions of the editor of `kaa repl`. It is executed with names and request, in a namespace of its own.
import codeop
import json
import rlcompleter
import sys
import warnings


def whole(code):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return codeop.compile_command(code, "<input>", "exec") is not None
        except (SyntaxError, OverflowError, ValueError):
            return True


def complete(word):
    completer = rlcompleter.Completer(names)
    matches = []
    while len(matches) < 200:
        match = completer.complete(word, len(matches))
        if match is None:
            break
        matches.append(match)
    return matches


asked = json.loads(request)
answer = whole(asked["code"]) if asked["do"] == "whole" else complete(asked["code"])
sys.stdout.write("\0" + json.dumps(answer) + "\0")
