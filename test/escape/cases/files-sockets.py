# tries: connect to the machine's services at their sockets in the file system
# strict: none is in its root
# basic: no socket can be made
# end: ok HELD

for path in (outside("socket"), "/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock",
             "/run/crio/crio.sock", "/run/dbus/system_bus_socket", "/run/systemd/private", "/run/systemd/journal/socket", "/dev/log",
             "/run/systemd/notify", "/run/udev/control", "/run/redis/redis.sock", "/var/run/redis/redis-server.sock", "/tmp/redis.sock",
             "/run/nscd/socket", "/run/snapd.socket", "/run/acpid.socket", "/tmp/.X11-unix/X0", "/tmp/ssh-agent.sock", "/run/user/0/bus",
             "/run/user/1000/bus", "/run/lvm/lvmpolld.socket", "/run/rpcbind.sock", os.environ.get("SSH_AUTH_SOCK", "/nonexistent")):
    connects("stream " + path, socket.AF_UNIX, path)
    connects("datagram " + path, socket.AF_UNIX, path, socket.SOCK_DGRAM)
    connects("packets " + path, socket.AF_UNIX, path, socket.SOCK_SEQPACKET)
finish()
