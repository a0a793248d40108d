def _names(path, names):
    import inspect, json
    value = None
    if path:
        first, *rest = path.split(".")
        value = names[first]
        for part in rest:
            found = inspect.getattr_static(value, part)
            if isinstance(found, (property, staticmethod, classmethod)) or hasattr(type(found), "__get__") and not inspect.isroutine(found) and not inspect.isclass(found):
                return print("[]")
            value = found if not inspect.isroutine(found) else getattr(value, part)
        found = [n for n in dir(value) if isinstance(n, str)]
    else:
        found = [n for n in names if isinstance(n, str) and n != "_names"]
    print(json.dumps(found[:2000]))
