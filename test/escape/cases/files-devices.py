# tries: open every device but null, zero, full, random and urandom
# strict: no others exist in its root, but for terminals of its own
# basic: Landlock refuses the others
# end: ok HELD

harmless = {os.makedev(1, minor) for minor in (3, 5, 7, 8, 9)}
paths = ["/dev/" + n for n in (
    "mem kmem port kmsg console tty tty0 tty1 ptmx pts/0 pts/ptmx kvm fuse loop-control loop0 sda vda vdb nvme0n1 dm-0 mapper/control "
    "net/tun vhost-net vhost-vsock vsock hwrng rtc rtc0 cpu/0/msr cpu/0/cpuid input/event0 uinput snd/timer dri/card0 dri/renderD128 "
    "nvidia0 nvidiactl vfio/vfio userfaultfd autofs btrfs-control cuse ppp rfkill uhid userio zram0 mqueue hugepages log initctl "
    "shm/../mem disk bus/usb/001/001 snapshot mcelog cpu_dma_latency udmabuf dma_heap/system binder binderfs nbd0 sg0 sr0 ram0 raw/rawctl").split()]
for top, dirs, files in os.walk("/dev"):
    if top.startswith(("/dev/fd", "/dev/shm")):
        continue
    paths += [os.path.join(top, f) for f in files]
for path in sorted(set(paths)):
    try:
        st = os.stat(path)
    except OSError:
        continue
    if not (stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode)) or st.st_rdev in harmless or "watchdog" in path:
        continue
    if path in ("/dev/stdin", "/dev/stdout", "/dev/stderr"):
        continue
    if path in ("/dev/ptmx", "/dev/pts/ptmx") and os.listdir("/dev/pts") == ["ptmx"]:
        continue  # nobody else's terminals are there
    opens(path, os.O_RDONLY)
    if stat.S_ISCHR(st.st_mode):
        opens(path, os.O_WRONLY)
finish()
