# tries: use system calls that are younger than the filter
# strict: ENOSYS for every number the filter does not know
# basic: ENOSYS for every number the filter does not know
# end: ok HELD

for number in list(range(470, 1100)) + [2**31 - 1, 2**31, 2**32 - 2, 0x3FFFFFFF]:
    if MACHINE == "x86_64" and 512 <= number <= 547:
        continue  # see sys-x32
    result, code = raw(number, -1, -1, -1, -1, -1, -1)
    if code not in REFUSED:
        escaped("%d: %d %s" % (number, result, errno.errorcode.get(code, code)))
# The last years' additions: reachable or not, nothing comes of them.
arrives("open_tree_attr", AT_FDCWD, b"/", 1, 0, 0, close=True)
arrives("statmount", 0, 0, 0, 0)
arrives("listmount", 0, 0, 0, 0)
finish()
