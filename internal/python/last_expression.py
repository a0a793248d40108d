"""Compiles code so that its last expression has a value.

Standard library only, Python 3.8 and later.
"""

import __future__

import _ast

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

ONLY_AST, AWAIT = _ast.PyCF_ONLY_AST, _ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
EXPRESSION_STATEMENT, EXPRESSION = _ast.Expr, _ast.Expression
ASSIGN, NAME, STORE = _ast.Assign, _ast.Name, _ast.Store
VALUE = " value"  # no name that code can have
COROUTINE = 0x80  # in co_flags
FUTURES = 0
for _name in __future__.all_feature_names:
    FUTURES |= getattr(__future__, _name).compiler_flag

# These begin statements, and are in no expression.
STATEMENTS = frozenset("import return raise assert del pass global nonlocal break continue".split())
COMPOUND = frozenset("for while if elif else def class with try except finally".split())


def split(source, flags, filename):
    """Compile source. Return the code of its statements and the code of its last expression.

    Either can be None. Both have the line numbers of source.
    """
    parts = split_simple(source, flags, filename)
    if parts is not None:
        return parts
    try:
        tree = compile(source, filename, "exec", flags | AWAIT | ONLY_AST, True)
        last = tree.body[-1] if tree.body else None
        if type(last) is not EXPRESSION_STATEMENT or is_silenced(source, last):
            return compile(tree, filename, "exec", flags | AWAIT, True), None
        tree.body.pop()
        body = None
        if tree.body:
            body = compile(tree, filename, "exec", flags | AWAIT, True)
            flags |= body.co_flags & FUTURES
        return body, compile(EXPRESSION(last.value), filename, "eval", flags | AWAIT, True)
    except RecursionError:  # the depth of trees has a lower limit than that of code
        return compile(source, filename, "exec", flags | AWAIT, True), None


def dedent(source):
    """Return the code of a cell without the indentation of its first line, as IPython does."""
    if source[:1] not in (" ", "\t", "\n", "\r"):
        return source
    lines = source.splitlines(True)
    first = next((line for line in lines if not line.isspace()), "")
    indentation = first[:len(first) - len(first.lstrip(" \t"))]
    if not indentation:
        return source
    return "".join([line[len(indentation):] if line.startswith(indentation) else line for line in lines])


def add_line(error, source, filename):
    """Give a syntax error the text of its line, which the compiler looks for in a file."""
    if error.text is None and error.filename == filename and type(error.lineno) is int:
        lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if 0 < error.lineno <= len(lines):
            error.text = lines[error.lineno - 1] + "\n"


def split_simple(source, flags, filename):
    """Return the result of split if the last line of source is enough to know it, else None.

    A syntax tree costs a young process a hundred copies of pages. Here the last line is a
    complete expression and the text before it is complete. So each can be compiled by itself,
    without a change of meaning.
    """
    text = source.rstrip()
    start = max(text.rfind("\n"), text.rfind("\r")) + 1
    last = text[start:]
    if ";" in last or last[:1] == "#":
        return None
    flags |= AWAIT
    quoted = '"""' in text or "'''" in text
    try:
        if last[:1] in (" ", "\t"):
            if quoted or not is_compound(text):
                return None
            return compile(source, filename, "exec", flags, True), None
        if start == 0:
            return None, compile(source, filename, "eval", flags, True)
        if last.split(None, 1)[0] in STATEMENTS and not quoted:
            return compile(source, filename, "exec", flags, True), None
        before = text[:start]
        lines = before.count("\n") + before.count("\r") - before.count("\r\n")
        place = "\n" * lines + last
        expression = compile(place, filename, "eval", flags, True)
        body = compile(before, filename, "exec", flags, True)
        if body.co_flags & FUTURES & ~flags:
            expression = compile(place, filename, "eval", flags | body.co_flags & FUTURES, True)
        return body, expression
    except (SyntaxError, RecursionError):
        return None


def is_compound(text):
    """Return whether the last line, which is indented, is part of a compound statement."""
    for line in reversed(text.splitlines()):
        if line[:1] not in ("", " ", "\t", "#"):
            return line.endswith(":") and line.rstrip(":").split(None, 1)[0].split("(")[0] in COMPOUND
    return False


def is_silenced(source, last):
    """Return whether a semicolon follows the last expression. It suppresses the value."""
    if ";" not in source:
        return False
    lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    rest = lines[last.end_lineno - 1].encode("utf-8", "surrogatepass")[last.end_col_offset:]
    return rest.lstrip().startswith(b";")


def is_async(code):
    return code is not None and code.co_flags & COROUTINE


def compile_whole(source, flags, filename):
    """Compile code of which a part awaits, as one coroutine. The coroutine stores the value of the
    last expression in the namespace."""
    tree = compile(source, filename, "exec", flags | AWAIT | ONLY_AST, True)
    last = tree.body[-1]
    place = {name: getattr(last.value, name) for name in ("lineno", "col_offset", "end_lineno", "end_col_offset")}
    tree.body[-1] = ASSIGN([NAME(VALUE, STORE(), **place)], last.value, **place)
    return compile(tree, filename, "exec", flags | AWAIT, True)
