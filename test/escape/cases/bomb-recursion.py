# tries: overflow the stack of the interpreter
# strict: status exit or an error, and only this execution ends
# basic: status exit or an error, and only this execution ends
# end: any
# timeout: 10
# unsandboxed: held because it hurts itself only

sys.setrecursionlimit(1 << 30)


class A:
    def __getattr__(self, name):
        return getattr(self, name)


getattr(A(), "x")
