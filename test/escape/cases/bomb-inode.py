# tries: make files until there are no inodes left: empty ones, directories, links, pipes
# strict: refused at the limit
# basic: not protected: the number of files is not limited, only their size; they are removed at the end
# end: ok HELD | exit MemoryLimitExceeded
# timeout: 60
# unsandboxed: either because the number may be limited at every level

ENOUGH = 70000
made = 0
try:
    while made < ENOUGH:
        if made % 1000 == 0:
            where = "d%d" % made
            os.mkdir(where)
        os.mkfifo("%s/%d" % (where, made)) if made % 2 else os.symlink("x", "%s/%d" % (where, made))
        made += 1
except OSError as error:
    note(made, error)
if made >= ENOUGH:
    escaped("%d files" % made)
finish()
