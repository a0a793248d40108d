# tries: reach abstract sockets of the host, and take names there
# strict: another network namespace, and Landlock
# basic: no socket can be made
# end: ok HELD

name = outside("abstract")
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    connects("host's abstract socket, type %d" % kind, socket.AF_UNIX, "\0" + name, kind)


def listed():
    found = re.findall(rb"@(\S+)", read("/proc/net/unix"))
    return [n for n in found if not n.startswith(b"mine")]


try:
    names = listed()
except OSError:
    names = []
if names and own_namespace("net"):
    escaped("names in /proc/net/unix")
for at in names:
    if b"kaa-" in at:  # others are not ours to attack
        connects("listed", socket.AF_UNIX, b"\0" + at)
if not own_namespace("net"):
    def take():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.bind("\0" + LEFT)

    works("bind a name", take)
finish()
