package sandbox_test

import (
	"encoding/binary"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/sandbox"
)

// In the place of an error.
const (
	allowed = unix.Errno(0)
	done    = unix.Errno(0xffff) // nothing happens, and the answer is 0
)

// filter carries a seccomp program out.
type filter struct {
	vm   *bpf.VM
	info *arch.Info
}

func newFilter(t *testing.T, code []byte) filter {
	t.Helper()
	var program []bpf.Instruction
	for ; len(code) >= 8; code = code[8:] {
		raw := bpf.RawInstruction{Op: binary.NativeEndian.Uint16(code), Jt: code[2], Jf: code[3], K: binary.NativeEndian.Uint32(code[4:])}
		program = append(program, raw.Disassemble())
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	info, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	return filter{vm, info}
}

// answer is the error that a system call gets.
func (f filter) answer(t *testing.T, name string, args ...uint64) unix.Errno {
	t.Helper()
	number, ok := f.info.SyscallNames[name]
	if !ok {
		t.Fatalf("there is no call %s", name)
	}
	return f.answerTo(t, uint32(number), args...)
}

func (f filter) answerTo(t *testing.T, number uint32, args ...uint64) unix.Errno {
	t.Helper()
	// struct seccomp_data. The machine that the library simulates reads words with their
	// upper byte first, which network packets have, so the order of bytes is that in each.
	words := make([]uint32, 16)
	words[0], words[1] = number, uint32(f.info.ID)
	for i, arg := range args {
		words[4+2*i], words[5+2*i] = uint32(arg), uint32(arg>>32)
	}
	var data []byte
	for _, word := range words {
		data = binary.BigEndian.AppendUint32(data, word)
	}
	verdict, err := f.vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	const allow, refuse = 0x7fff0000, 0x00050000
	switch {
	case verdict == allow:
		return allowed
	case verdict == refuse:
		return done
	case verdict&^0xffff == refuse:
		return unix.Errno(verdict & 0xffff)
	}
	t.Fatalf("%d: verdict %#x", number, verdict)
	return 0
}

// TestFilter: what is refused for its arguments, and what is not for nearly the same ones.
// The upper half of an int means nothing, since the kernel does not look at it.
func TestFilter(t *testing.T) {
	t.Parallel()
	const high, sigchld = 1 << 32, uint64(unix.SIGCHLD)
	tests := []struct {
		call string
		args []uint64
		want unix.Errno
	}{
		{"getpid", nil, allowed},
		{"mount", nil, allowed},                           // a slot's; a worker has another filter
		{"unshare", []uint64{unix.CLONE_NEWNET}, allowed}, // the same
		{"unshare", []uint64{unix.CLONE_NEWNET | unix.CLONE_NEWUSER}, unix.EPERM},
		{"unshare", []uint64{unix.CLONE_NEWUTS}, allowed},
		{"unshare", []uint64{unix.CLONE_NEWUTS | unix.CLONE_NEWNET}, unix.EPERM},
		{"unshare", []uint64{unix.CLONE_NEWIPC}, unix.EPERM},
		{"unshare", []uint64{unix.CLONE_NEWCGROUP}, unix.EPERM},
		{"unshare", []uint64{unix.CLONE_NEWUSER}, unix.EPERM},
		{"unshare", []uint64{unix.CLONE_FILES}, unix.EPERM},
		{"ptrace", nil, unix.EPERM},
		{"clone", []uint64{unix.CLONE_NEWNET | sigchld}, unix.EPERM},
		{"clone", []uint64{sigchld}, allowed},
		{"inotify_init1", nil, unix.ENOSYS},
		{"inotify_add_watch", nil, unix.ENOSYS},
		{"fanotify_init", nil, unix.ENOSYS},
		{"io_setup", nil, unix.ENOSYS},
		{"io_submit", nil, unix.ENOSYS},
		{"fcntl", []uint64{3, unix.F_SETLEASE}, unix.EPERM},
		{"fcntl", []uint64{3, unix.F_SETLEASE | high}, unix.EPERM},
		{"fcntl", []uint64{unix.F_SETLEASE, unix.F_GETFL}, allowed},
		{"fcntl", []uint64{3, unix.F_NOTIFY}, unix.EINVAL},
		{"fcntl", []uint64{3, unix.F_NOTIFY | high}, unix.EINVAL},
		{"fcntl", []uint64{3, unix.F_DUPFD_CLOEXEC}, allowed},
		{"ioctl", []uint64{3, unix.TIOCSETD}, unix.EPERM},
		{"ioctl", []uint64{3, unix.TIOCSETD | high}, unix.EPERM},
		{"ioctl", []uint64{3, unix.TIOCSTI}, unix.EIO},
		{"ioctl", []uint64{3, unix.TIOCSTI | high}, unix.EIO},
		{"ioctl", []uint64{3, unix.TIOCSCTTY}, allowed},
		{"ioctl", []uint64{3, unix.TIOCGWINSZ}, allowed},
		{"ioctl", []uint64{3, unix.SIOCINQ}, allowed},
		{"ioctl", []uint64{3, unix.SIOCATMARK}, allowed},
		{"ioctl", []uint64{3, unix.SIOCGSTAMPNS_OLD}, allowed},
		{"ioctl", []uint64{3, unix.SIOCGSTAMP_NEW}, allowed},
		{"ioctl", []uint64{3, unix.SIOCADDRT}, unix.ENODEV},
		{"ioctl", []uint64{3, unix.SIOCGIFCONF}, unix.ENODEV},
		{"ioctl", []uint64{3, unix.SIOCGIFFLAGS}, unix.ENODEV},
		{"ioctl", []uint64{3, unix.SIOCSIFFLAGS}, allowed},
		{"ioctl", []uint64{3, unix.SIOCGIFADDR}, unix.ENODEV},
		{"ioctl", []uint64{3, unix.SIOCGIFCONF | high}, unix.ENODEV},
		{"ioctl", []uint64{3, unix.SIOCGIFINDEX}, unix.ENODEV},
		{"ioctl", []uint64{3, unix.SIOCETHTOOL}, unix.ENODEV},
		{"ioctl", []uint64{3, unix.SIOCGSKNS}, unix.ENODEV},
		{"ioctl", []uint64{3, 0x89ff}, unix.ENODEV},
		{"ioctl", []uint64{3, 0x8a00}, allowed},
		{"ioctl", []uint64{3, 0x8b00}, unix.ENODEV},
		{"ioctl", []uint64{3, 0x8c00}, allowed},
		{"setsockopt", []uint64{3, unix.IPPROTO_IPV6, 32}, unix.EPERM},
		{"setsockopt", []uint64{3, unix.IPPROTO_IPV6 | high, 32 | high}, unix.EPERM},
		{"setsockopt", []uint64{3, unix.IPPROTO_TCP, 32}, unix.EPERM}, // TCP_MD5SIG_EXT
		{"setsockopt", []uint64{3, unix.SOL_SOCKET, 32}, allowed},     // SO_SNDBUFFORCE, which needs privileges
		{"setsockopt", []uint64{3, unix.IPPROTO_IP, unix.IP_MINTTL}, unix.EPERM},
		{"setsockopt", []uint64{3, unix.SOL_SOCKET, unix.SO_SNDTIMEO}, allowed}, // the number of IP_MINTTL
		{"setsockopt", []uint64{3, unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT}, unix.EPERM},
		{"setsockopt", []uint64{3, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY}, allowed},
		{"setsockopt", []uint64{3, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER}, unix.EPERM},
		{"setsockopt", []uint64{3, unix.SOL_SOCKET, unix.SO_BINDTODEVICE}, unix.EPERM},
		{"setsockopt", []uint64{3, unix.SOL_SOCKET, unix.SO_REUSEADDR}, allowed},
		{"setsockopt", []uint64{unix.IPPROTO_IP, unix.SOL_SOCKET, unix.SO_KEEPALIVE}, allowed},
		{"setsockopt", []uint64{3, unix.IPPROTO_TCP, unix.TCP_NODELAY}, allowed},
		{"mmap", []uint64{0, 4096, 3, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_HUGETLB}, unix.ENOMEM},
		{"mmap", []uint64{0, 4096, 3, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS}, allowed},
		{"mmap", []uint64{0, unix.MAP_HUGETLB, 3, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS}, allowed},
		{"memfd_create", []uint64{0, unix.MFD_HUGETLB}, unix.EINVAL},
		{"memfd_create", []uint64{0, unix.MFD_HUGETLB | unix.MFD_CLOEXEC | high}, unix.EINVAL},
		{"memfd_create", []uint64{0, unix.MFD_CLOEXEC}, allowed},
		{"shmget", nil, unix.ENOSYS},
		{"open_tree", nil, unix.EPERM},
		{"open_tree_attr", nil, unix.EPERM},
		{"cachestat", nil, unix.ENOSYS},
		{"mincore", nil, unix.ENOSYS},
		{"splice", nil, allowed},
		{"vmsplice", nil, unix.ENOSYS},
		{"tee", nil, unix.ENOSYS},
		{"get_mempolicy", nil, unix.ENOSYS},
		{"lsm_list_modules", nil, unix.ENOSYS},
		{"futex", nil, allowed},
		{"futex_waitv", nil, unix.ENOSYS},
		{"getxattr", nil, allowed},
		{"getxattrat", nil, unix.ENOSYS},
		{"fchmodat2", nil, allowed},
		{"mseal", nil, allowed},
		{"openat", []uint64{3, 0, unix.O_TMPFILE | unix.O_RDWR}, unix.EOPNOTSUPP},
		{"openat", []uint64{3, 0, unix.O_DIRECTORY | unix.O_CREAT | unix.O_RDWR}, allowed},
		{"openat2", nil, unix.ENOSYS},
		{"sync", nil, done},
		{"syncfs", []uint64{3}, done},
		{"fsync", []uint64{3}, allowed},
		{"fadvise64", []uint64{3, 0, 0, unix.FADV_DONTNEED}, done},
		{"fadvise64", []uint64{3, 0, 0, unix.FADV_DONTNEED | high}, done},
		{"fadvise64", []uint64{3, 0, 0, unix.FADV_WILLNEED}, allowed},
		{"madvise", []uint64{0, 4096, unix.MADV_PAGEOUT}, unix.EINVAL},
		{"madvise", []uint64{0, 4096, unix.MADV_DONTNEED}, allowed},
		{"preadv2", []uint64{3, 0, 1, 0, 0, unix.RWF_NOWAIT}, unix.EOPNOTSUPP},
		{"preadv2", []uint64{3, 0, 1, 0, 0, unix.RWF_NOWAIT | unix.RWF_HIPRI | high}, unix.EOPNOTSUPP},
		{"preadv2", []uint64{3, 0, 1, unix.RWF_NOWAIT, unix.RWF_NOWAIT, 0}, allowed},
		{"pwritev2", []uint64{3, 0, 1, 0, 0, unix.RWF_APPEND}, allowed},
		{"sendto", []uint64{3, 0, 1, unix.MSG_OOB}, unix.EOPNOTSUPP},
		{"sendto", []uint64{3, 0, 1, unix.MSG_OOB | unix.MSG_NOSIGNAL | high}, unix.EOPNOTSUPP},
		{"sendto", []uint64{3, 1, 1, unix.MSG_NOSIGNAL}, allowed},
		{"sendmsg", []uint64{3, 0, unix.MSG_OOB}, unix.EOPNOTSUPP},
		{"sendmsg", []uint64{3, 1, unix.MSG_DONTWAIT}, allowed},
		{"sendmmsg", []uint64{3, 0, 1, unix.MSG_OOB}, unix.EOPNOTSUPP},
		{"recvfrom", []uint64{3, 0, 1, unix.MSG_OOB}, allowed}, // there is none
		{"seccomp", []uint64{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER}, unix.EINVAL},
		{"seccomp", []uint64{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC}, allowed},
		{"setsockopt", []uint64{3, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF}, unix.EPERM},
		{"setsockopt", []uint64{3, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF}, unix.EPERM},
		{"setsockopt", []uint64{3, unix.SOL_SOCKET, unix.SO_REUSEPORT}, allowed},
		{"setsockopt", []uint64{3, unix.IPPROTO_TCP, unix.TCP_ULP}, unix.EPERM},
		{"getsockopt", []uint64{3, unix.SOL_SOCKET, unix.SO_COOKIE}, unix.ENOPROTOOPT},
		{"getsockopt", []uint64{3, unix.SOL_SOCKET | high, unix.SO_NETNS_COOKIE | high}, unix.ENOPROTOOPT},
		{"getsockopt", []uint64{3, unix.SOL_SOCKET, unix.SO_ERROR}, allowed},
		{"socketpair", []uint64{unix.AF_UNIX, unix.SOCK_STREAM}, allowed},
		{"socketpair", []uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC}, allowed},
		{"socketpair", []uint64{unix.AF_NETLINK, unix.SOCK_STREAM}, unix.EAFNOSUPPORT},
		{"socketpair", []uint64{unix.AF_UNIX | high, unix.SOCK_STREAM}, unix.EAFNOSUPPORT},
	}
	for _, level := range []sandbox.Level{sandbox.Strict, sandbox.Basic} {
		slot, _, err := sandbox.Filters(level, true)
		if err != nil {
			t.Fatal(err)
		}
		f := newFilter(t, slot)
		for _, tt := range tests {
			if (tt.call == "mount" || tt.call == "unshare") && level == sandbox.Basic {
				tt.want = unix.EPERM
			}
			if got := f.answer(t, tt.call, tt.args...); got != tt.want {
				t.Errorf("%s: %s %#x: %q, want %q", level, tt.call, tt.args, got, tt.want)
			}
		}
	}
}

// TestFilterNumbers: what has no name answers as if it did not exist, between the named ones too.
func TestFilterNumbers(t *testing.T) {
	t.Parallel()
	for _, level := range []sandbox.Level{sandbox.Strict, sandbox.Basic} {
		slot, _, err := sandbox.Filters(level, true)
		if err != nil {
			t.Fatal(err)
		}
		f := newFilter(t, slot)
		for number := range uint32(1200) {
			_, named := f.info.SyscallNumbers[int(number)]
			if got := f.answerTo(t, number); !named && got != unix.ENOSYS {
				t.Errorf("%s: %d: %q", level, number, got)
			}
		}
		for _, number := range []uint32{1<<30 | 1, 1 << 31, 1<<32 - 1} {
			if got := f.answerTo(t, number); got != unix.ENOSYS {
				t.Errorf("%s: %d: %q", level, number, got)
			}
		}
	}
}

// TestFilterProtocols: of the internet's families there are TCP, UDP and ICMP.
func TestFilterProtocols(t *testing.T) {
	t.Parallel()
	slot, _, err := sandbox.Filters(sandbox.Strict, true)
	if err != nil {
		t.Fatal(err)
	}
	f := newFilter(t, slot)
	for protocol := range uint64(300) {
		want := unix.EPROTONOSUPPORT
		switch protocol {
		case 0, unix.IPPROTO_ICMP, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMPV6:
			want = allowed
		}
		for _, family := range []uint64{unix.AF_INET, unix.AF_INET6} {
			for _, high := range []uint64{0, 1 << 32} {
				if got := f.answer(t, "socket", family, unix.SOCK_STREAM, protocol|high); got != want {
					t.Errorf("family %d, protocol %d: %q, want %q", family, protocol, got, want)
				}
			}
		}
	}
}

// TestFilterSockets: without a network namespace there are pairs that stay with each other.
func TestFilterSockets(t *testing.T) {
	t.Parallel()
	for level, want := range map[sandbox.Level]unix.Errno{sandbox.Strict: allowed, sandbox.Basic: unix.EAFNOSUPPORT} {
		slot, _, err := sandbox.Filters(level, true)
		if err != nil {
			t.Fatal(err)
		}
		f := newFilter(t, slot)
		for call, args := range map[string][]uint64{
			"socket": {unix.AF_INET, unix.SOCK_STREAM}, "bind": {3}, "socketpair": {unix.AF_UNIX, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC},
		} {
			if got := f.answer(t, call, args...); got != want {
				t.Errorf("%s: %s: %q, want %q", level, call, got, want)
			}
		}
	}
}

// TestFilterOfWorkers: a worker that comes of a slot may not mount, whatever it may else.
func TestFilterOfWorkers(t *testing.T) {
	t.Parallel()
	_, worker, err := sandbox.Filters(sandbox.Strict, true)
	if err != nil {
		t.Fatal(err)
	}
	f := newFilter(t, worker)
	for call, want := range map[string]unix.Errno{"mount": unix.EPERM, "umount2": unix.EPERM, "unshare": unix.EPERM, "setns": unix.EPERM, "read": allowed} {
		if got := f.answer(t, call); got != want {
			t.Errorf("%s: %q, want %q", call, got, want)
		}
	}
}

// TestFilterWithoutControlGroups: nobody would see the memory of anonymous files.
func TestFilterWithoutControlGroups(t *testing.T) {
	t.Parallel()
	slot, _, err := sandbox.Filters(sandbox.Strict, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, flags := range []uint64{0, unix.MFD_HUGETLB} {
		if got := newFilter(t, slot).answer(t, "memfd_create", 0, flags); got != unix.ENOSYS {
			t.Errorf("memfd_create with flags %d: %q", flags, got)
		}
	}
}
