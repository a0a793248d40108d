# tries: use the kernel's key rings, which executions of one user share
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

KEYCTL_GET_KEYRING_ID, KEYCTL_JOIN_SESSION_KEYRING, KEYCTL_SEARCH, KEYCTL_DESCRIBE, KEYCTL_GET_PERSISTENT = 0, 1, 10, 6, 22
for ring in (-1, -2, -3, -4, -5):
    arrives("keyctl", KEYCTL_GET_KEYRING_ID, ring, 0, what="key ring %d" % ring)
arrives("add_key", b"user", LEFT.encode(), b"x", 1, -2)  # to the process's own ring
arrives("request_key", b"user", LEFT.encode(), 0, -2)
in_child(lambda: arrives("keyctl", KEYCTL_JOIN_SESSION_KEYRING, 0, what="join a session ring"))
arrives("keyctl", KEYCTL_GET_PERSISTENT, -1, -2, what="persistent ring")
if own_namespace("user"):  # else their names show, to whom the same user's would
    finds("others' keys", lambda: read("/proc/keys").strip())
finish()
