# tries: find the runner's secrets in the environment and the arguments of the worker
# strict: the environment is built from nothing
# basic: the environment is built from nothing
# end: ok HELD
# unsandboxed: held because the environment is built from nothing at every level

pattern = re.compile(SECRET.pattern + rb"|redi[s]s?:/|KAA[_][A-Z]+|127\.0\.0\.1:[0-9]+")
mine = {"ESCAPE_HINTS", "ESCAPE_VERBOSE"}
for name, value in os.environ.items():
    if name not in mine and pattern.search(os.fsencode(name + "=" + value)):
        escaped("variable " + name)
    if name not in mine | {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "HOME", "TMPDIR", "USER", "LOGNAME", "SHELL", "PWD", "MPLBACKEND", "MPLCONFIGDIR",
                           "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE", "IPYTHONDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"} and \
            not name.endswith("_THREADS") and not name.startswith(("KMP_", "MKL_", "OMP_", "OPENBLAS_")):
        escaped("not on the list of what is passed: " + name)
for name in ("environ", "cmdline", "auxv", "comm"):
    try:
        if pattern.search(read("/proc/self/" + name)):
            escaped("/proc/self/" + name)
    except OSError as error:
        note(name, error)
for argument in getattr(sys, "orig_argv", sys.argv):
    if pattern.search(os.fsencode(argument)):
        escaped("argument " + argument)
finish()
