package sandbox

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets in the kernel's struct seccomp_data.
const (
	offsetNumber   = 0
	offsetArch     = 4
	offsetArgument = 16 // the first one's lower half, on machines with the lower half first
	sizeArgument   = 8
)

// namespaceFlags are the flags of clone(2) that make namespaces.
const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

func refuse(code unix.Errno) seccomp.Action {
	return seccomp.ActionErrno | seccomp.Action(code) //nolint:gosec // error numbers are small
}

// forbidden are system calls that no program without privileges needs: those that change the
// system, inspect other processes, or are large and young parts of the kernel. They answer
// EPERM, which libraries expect.
var forbidden = []string{ //nolint:gochecknoglobals // a constant
	"pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick", "open_tree", "open_tree_attr", "move_mount",
	"mount_setattr", "listmount", "statmount",
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp", "pidfd_getfd",
	"bpf", "perf_event_open", "userfaultfd", "add_key", "request_key", "keyctl",
	"kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module", "get_kernel_syms",
	"query_module", "reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd",
	"settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "iopl", "ioperm", "modify_ldt", "vm86", "vm86old",
	"lookup_dcookie", "nfsservctl", "uselib", "ustat", "sysfs", "_sysctl", "syslog", "vhangup",
	"sethostname", "setdomainname", "name_to_handle_at", "open_by_handle_at",
	"migrate_pages", "move_pages", "mbind", "set_mempolicy", "set_mempolicy_home_node", "remap_file_pages",
	"set_thread_area", "map_shadow_stack",
}

// absent answer ENOSYS, at which libraries fall back to something older.
var absent = []string{ //nolint:gochecknoglobals // a constant
	"clone3", "openat2", // their flags are in memory, where a filter cannot see them
	"io_uring_setup", "io_uring_enter", "io_uring_register", "memfd_secret",
	// The machine has one supply of them for all processes.
	"io_setup", "io_destroy", "io_submit", "io_getevents", "io_pgetevents", "io_cancel",
	// Watching files that all sandboxes and the machine have would show which files others open.
	// Besides, a user has one supply of watches for all sandboxes together.
	"inotify_init", "inotify_init1", "inotify_add_watch", "fanotify_init", "fanotify_mark",
	// System V IPC: outlives its processes, and its memory shows in none of them.
	"shmget", "shmat", "shmctl", "semget", "semop", "semtimedop", "semctl", "msgget", "msgsnd", "msgrcv", "msgctl",
	"mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr",
	// They show which pages of files are in memory, and so which files others have read, if the
	// files are the runner's user's, or on older kernels anyway.
	"cachestat", "mincore",
	// Pages that move between processes without a copy have had holes. Python's own
	// os.splice stays: it has no other way.
	"vmsplice", "tee",
	// Young, and of no use here: there are no policies, no labels, and locks have an older call.
	"get_mempolicy", "lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules",
	"futex_waitv", "futex_wake", "futex_wait", "futex_requeue",
	"setxattrat", "getxattrat", "listxattrat", "removexattrat", "uretprobe",
}

// Filters returns two seccomp programs of a level; nil at level none. The first is installed
// once per slot and inherited by its workers. The second is added by each worker, and refuses
// calls that only the slot may make. setns into a user namespace stays allowed: workers need it,
// and afterwards no other user namespace is reachable. Without control groups there are no
// anonymous files, because the watchdog does not see their memory.
func Filters(level Level, cgroups bool) (slot, worker []byte, err error) {
	if level == None {
		return nil, nil, nil
	}
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, nil, fmt.Errorf("seccomp filter: %w", err)
	}
	missing := absent
	if !cgroups {
		missing = append(slices.Clone(absent), "memfd_create")
	}
	// A slot mounts file systems and makes another network for its next worker, which enters a
	// user namespace before it has its own filter.
	slots := []string{"mount", "umount2", "unshare", "setns"}
	refused := slices.Clone(forbidden)
	if level == Basic {
		refused = append(refused, slots...)
	} else {
		if worker, err = refuseCalls(info, slots); err != nil {
			return nil, nil, err
		}
	}
	slot, err = assemble(info, slices.Concat(refuseBits(info), refuseUnnamed(info), refuseInts(info, slices.Concat(commands, protocols(unix.AF_INET), protocols(unix.AF_INET6)))),
		seccomp.SyscallGroup{Names: known(info, refused), Action: refuse(unix.EPERM)},
		seccomp.SyscallGroup{Names: known(info, missing), Action: refuse(unix.ENOSYS)},
		// Values are compared as 64 bits, of which the kernel drops the upper half of an int. So
		// rules for an int name the allowed values, or test single bits.
		seccomp.SyscallGroup{Action: refuse(unix.EPERM), NamesWithCondtions: conditions(info,
			when("clone", seccomp.Condition{Argument: 0, Operation: seccomp.BitsSet, Value: namespaceFlags}),
			when("setns", at(1, neither(unix.CLONE_NEWUSER))...),
			when("mknod", seccomp.Condition{Argument: 1, Operation: seccomp.BitsSet, Value: unix.S_IFCHR}),
			when("mknodat", seccomp.Condition{Argument: 2, Operation: seccomp.BitsSet, Value: unix.S_IFCHR}),
			// A question, and the default.
			when("personality", neither(0, 0xffffffff)...),
			// Its own limits, but not those of a process that supervises it.
			when("prlimit64", neither(0)...),
		)},
		// Huge pages; the answer is that the flag is unknown.
		seccomp.SyscallGroup{Action: refuse(unix.EINVAL), NamesWithCondtions: conditions(info,
			when("memfd_create", seccomp.Condition{Argument: 1, Operation: seccomp.BitsSet, Value: unix.MFD_HUGETLB}),
			// A supervisor of system calls sees the memory of others.
			when("seccomp", seccomp.Condition{Argument: 1, Operation: seccomp.BitsSet, Value: unix.SECCOMP_FILTER_FLAG_NEW_LISTENER}))},
		seccomp.SyscallGroup{Action: refuse(unix.EOPNOTSUPP), NamesWithCondtions: conditions(info,
			// RWF_NOWAIT would show whether others have read a part of a file.
			when("preadv2", seccomp.Condition{Argument: 5, Operation: seccomp.BitsSet, Value: unix.RWF_NOWAIT}),
			when("pwritev2", seccomp.Condition{Argument: 5, Operation: seccomp.BitsSet, Value: unix.RWF_NOWAIT}),
			when("sendmmsg", seccomp.Condition{Argument: 3, Operation: seccomp.BitsSet, Value: unix.MSG_OOB}))},
		sockets(info, level))
	return slot, worker, err
}

// assemble makes a program that allows all calls that no group refuses.
func assemble(info *arch.Info, prefix []bpf.Instruction, groups ...seccomp.SyscallGroup) ([]byte, error) {
	policy := seccomp.Policy{DefaultAction: seccomp.ActionAllow, Syscalls: groups}
	body, err := policy.Assemble()
	if err != nil {
		return nil, fmt.Errorf("seccomp filter: %w", err)
	}
	// The library lets system calls of another architecture's ABI pass by default,
	// and knows no calls younger than its tables.
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1},
		bpf.RetConstant{Val: uint32(refuse(unix.ENOSYS))},
		bpf.LoadAbsolute{Off: offsetNumber, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: youngest(info), SkipTrue: 1},
		bpf.RetConstant{Val: uint32(refuse(unix.ENOSYS))},
	}
	raw, err := bpf.Assemble(slices.Concat(program, prefix, body))
	if err != nil {
		return nil, fmt.Errorf("seccomp filter: %w", err)
	}
	return encode(raw), nil
}

// refuseCalls makes the shortest program that refuses some system calls, for processes with
// another one for the rest. The kernel executes a new program for every system call that exists,
// to find those that it always allows.
func refuseCalls(info *arch.Info, names []string) ([]byte, error) {
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: offsetNumber, Size: 4}}
	for i, name := range names {
		program = append(program, bpf.JumpIf{
			Cond: bpf.JumpEqual, Val: uint32(info.SyscallNames[name]), SkipTrue: uint8(len(names) - i), //nolint:gosec // a few
		})
	}
	program = append(program, bpf.RetConstant{Val: uint32(seccomp.ActionAllow)}, bpf.RetConstant{Val: uint32(refuse(unix.EPERM))})
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, fmt.Errorf("seccomp filter: %w", err)
	}
	return encode(raw), nil
}

// intRule refuses a call if all of some arguments, which are ints, are within bounds.
type intRule struct {
	call string
	code unix.Errno
	args []bounds
}

type bounds struct{ argument, first, last uint32 }

// command is an intRule for values of the second argument.
func command(call string, code unix.Errno, first, last uint32) intRule {
	return intRule{call, code, []bounds{{1, first, last}}}
}

// option is an intRule for an option of sockets.
func option(level, name uint32) intRule {
	return intRule{"setsockopt", unix.EPERM, []bounds{{1, level, level}, {2, name, name}}}
}

// commands are refused values of system calls with many functions.
var commands = []intRule{ //nolint:gochecknoglobals // a constant
	// A lease makes all other processes wait that open the file.
	command("fcntl", unix.EPERM, unix.F_SETLEASE, unix.F_SETLEASE),
	// It watches directories, as inotify does. The answer is that of a kernel without it.
	command("fcntl", unix.EINVAL, unix.F_NOTIFY, unix.F_NOTIFY),
	// A slot makes another network, and commands have a uts namespace each. There are no others.
	{"unshare", unix.EPERM, []bounds{{0, 0, unix.CLONE_NEWUTS - 1}}},
	{"unshare", unix.EPERM, []bounds{{0, unix.CLONE_NEWUTS + 1, unix.CLONE_NEWNET - 1}}},
	{"unshare", unix.EPERM, []bounds{{0, unix.CLONE_NEWNET + 1, math.MaxUint32}}},
	// A terminal is allowed, the drivers that it can be switched to are not.
	command("ioctl", unix.EPERM, unix.TIOCSETD, unix.TIOCSETD),
	// It puts characters into a terminal's input, as if a person had typed them. The answer is that
	// of a kernel in which this is switched off.
	command("ioctl", unix.EIO, unix.TIOCSTI, unix.TIOCSTI),
	// Interfaces, routes and bridges, and their equivalents of wireless networks. A socket
	// belongs to the network in which it was made, and a worker's control socket was made in the
	// runner's. The answer is that there is no such interface, which libraries expect. The gap
	// in between has the call with which a slot switches its loopback on; the kernel refuses it
	// to others, for every interface.
	command("ioctl", unix.ENODEV, unix.SIOCGSTAMPNS_OLD+1, unix.SIOCSIFFLAGS-1),
	command("ioctl", unix.ENODEV, unix.SIOCSIFFLAGS+1, lastSocketCommand),
	command("ioctl", unix.ENODEV, firstWirelessCommand, lastWirelessCommand),
	// The same by options: which of the runner's interfaces there are.
	option(unix.SOL_SOCKET, unix.SO_BINDTODEVICE),
	option(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX),
	// The kernel keeps a label for minutes, and has one supply for all processes.
	option(unix.IPPROTO_IPV6, ipv6FlowLabelManager),
	// With these one end of a connection drops what the other sends. Then both go on trying
	// after their processes are gone, to be seen by the next execution in the slot: see network.py.
	option(unix.IPPROTO_IP, unix.IP_MINTTL),
	option(unix.IPPROTO_IP, unix.IP_OPTIONS),
	option(unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT),
	option(unix.IPPROTO_IPV6, unix.IPV6_RTHDR),
	option(unix.IPPROTO_IPV6, unix.IPV6_2292PKTOPTIONS),
	option(unix.IPPROTO_TCP, unix.TCP_MD5SIG),
	option(unix.IPPROTO_TCP, unix.TCP_MD5SIG_EXT),
	option(unix.IPPROTO_TCP, tcpAOAddKey),
	option(unix.SOL_SOCKET, unix.SO_ATTACH_FILTER),
	option(unix.SOL_SOCKET, unix.SO_ATTACH_BPF),
	// Programs of its own for the kernel to carry out, as the two before.
	option(unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF),
	option(unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF),
	// Other protocols on top of TCP: TLS in the kernel, and modules that it would load for others.
	option(unix.IPPROTO_TCP, unix.TCP_ULP),
	// Numbers that the machine counts up for all processes. The answer is that of an older
	// kernel.
	{"getsockopt", unix.ENOPROTOOPT, []bounds{{1, unix.SOL_SOCKET, unix.SOL_SOCKET}, {2, unix.SO_COOKIE, unix.SO_COOKIE}}},
	{"getsockopt", unix.ENOPROTOOPT, []bounds{{1, unix.SOL_SOCKET, unix.SOL_SOCKET}, {2, unix.SO_NETNS_COOKIE, unix.SO_NETNS_COOKIE}}},
	// The kernel would drop pages of files that others use, too. The call is advice, which need
	// not be taken.
	{"fadvise64", done, []bounds{{3, unix.FADV_DONTNEED, unix.FADV_DONTNEED}}},
	{"madvise", unix.EINVAL, []bounds{{2, unix.MADV_PAGEOUT, unix.MADV_PAGEOUT}}},
	// These would write all dirty pages of the machine's disks. The code's own files are in
	// memory.
	{"sync", done, nil},
	{"syncfs", done, nil},
}

// bitRule refuses a call if a bit of an argument is set, and allows it otherwise.
type bitRule struct {
	call          string
	argument, bit uint32
	code          unix.Errno
}

// bits come first: these calls are frequent, and the kernel executes the program for each of
// them, up to the matching rule.
var bits = []bitRule{ //nolint:gochecknoglobals // a constant
	// Files without a name leave no trace except in the inode numbers of later files, so a slot
	// would not notice the use of its file systems. Libraries fall back to one with a name.
	{"openat", 2, nameless, unix.EOPNOTSUPP},
	{"open", 1, nameless, unix.EOPNOTSUPP},
	// Huge pages are the machine's, set aside by its operator, and no limit of memory counts
	// them. The answer is that of a kernel in which none are left.
	{"mmap", 3, unix.MAP_HUGETLB, unix.ENOMEM},
	// Urgent data is a young and fragile part of Unix sockets. A filter does not see the kind of
	// a socket.
	{"sendto", 3, unix.MSG_OOB, unix.EOPNOTSUPP},
	{"sendmsg", 2, unix.MSG_OOB, unix.EOPNOTSUPP},
}

// nameless is the part of O_TMPFILE beside O_DIRECTORY.
const nameless = unix.O_TMPFILE &^ unix.O_DIRECTORY

// done replaces an error: the call succeeds without an effect.
const done = unix.Errno(0)

// protocols refuses all of an address family except TCP, UDP and ICMP, and the default one of a type. The
// others are large and little used, and the first use of some loads them.
func protocols(family uint32) []intRule {
	var rules []intRule
	next := uint32(0)
	for _, allowed := range []uint32{0, unix.IPPROTO_ICMP, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMPV6, math.MaxUint32} {
		if allowed > next {
			rules = append(rules, intRule{"socket", unix.EPROTONOSUPPORT, []bounds{{0, family, family}, {2, next, allowed - 1}}})
		}
		next = allowed + 1
	}
	return rules
}

// Constants that x/sys lacks.
const (
	lastSocketCommand    = 0x89ff
	firstWirelessCommand = 0x8b00
	lastWirelessCommand  = 0x8bff
	ipv6FlowLabelManager = 32
	tcpAOAddKey          = 38
)

// refuseBits answers the calls of bits.
func refuseBits(info *arch.Info) []bpf.Instruction {
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: offsetNumber, Size: 4}}
	for _, rule := range bits {
		number, ok := info.SyscallNames[rule.call]
		if !ok {
			continue
		}
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(number), SkipTrue: 4}, //nolint:gosec // some hundred
			bpf.LoadAbsolute{Off: offsetArgument + sizeArgument*rule.argument, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: rule.bit, SkipTrue: 1},
			bpf.RetConstant{Val: uint32(refuse(rule.code))},
			bpf.RetConstant{Val: uint32(seccomp.ActionAllow)})
	}
	return program
}

// refuseUnnamed answers ENOSYS to numbers that have no name, though younger ones have.
func refuseUnnamed(info *arch.Info) []bpf.Instruction {
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: offsetNumber, Size: 4}}
	last := youngest(info)
	for number := uint32(0); number <= last; number++ {
		first := number
		for info.SyscallNumbers[int(number)] == "" && number <= last {
			number++
		}
		if number > first {
			program = append(program,
				bpf.JumpIf{Cond: bpf.JumpLessThan, Val: first, SkipTrue: 2},
				bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: number, SkipTrue: 1},
				bpf.RetConstant{Val: uint32(refuse(unix.ENOSYS))})
		}
	}
	return program
}

// refuseInts refuses the values of the rules. It compares ints as the kernel does: the lower
// half.
func refuseInts(info *arch.Info, rules []intRule) []bpf.Instruction {
	const perBounds = 3
	var program []bpf.Instruction
	for _, rule := range rules {
		left := uint8(1 + perBounds*len(rule.args)) //nolint:gosec // a few
		program = append(program,
			bpf.LoadAbsolute{Off: offsetNumber, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(info.SyscallNames[rule.call]), SkipTrue: left}) //nolint:gosec // some hundred
		for _, b := range rule.args {
			left -= perBounds
			program = append(program,
				bpf.LoadAbsolute{Off: offsetArgument + sizeArgument*b.argument, Size: 4},
				bpf.JumpIf{Cond: bpf.JumpLessThan, Val: b.first, SkipTrue: left + 1},
				bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: b.last, SkipTrue: left})
		}
		program = append(program, bpf.RetConstant{Val: uint32(refuse(rule.code))})
	}
	return program
}

// sockets: at strict the network is the sandbox's own and empty, so sockets of the internet
// families are harmless. Others are not confined by a network namespace, or are rarely tested
// parts of the kernel. At basic there is no such namespace, and even a Unix socket could reach a
// service of the host. So only pairs are allowed, of kinds that stay connected to each other and
// so reach no other process, and without a name.
func sockets(info *arch.Info, level Level) seccomp.SyscallGroup {
	rules := []seccomp.NameWithConditions{when("socketpair", neither(unix.AF_UNIX)...)}
	if level == Basic {
		rules = append(rules, when("socket", neither()...), when("bind", neither()...), when("socketpair", at(1, neither(
			unix.SOCK_STREAM, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.SOCK_STREAM|unix.SOCK_NONBLOCK,
			unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK,
			unix.SOCK_SEQPACKET, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK,
			unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK,
		))...))
	} else {
		rules = append(rules, when("socket", neither(unix.AF_UNIX, unix.AF_INET, unix.AF_INET6)...))
	}
	return seccomp.SyscallGroup{Action: refuse(unix.EAFNOSUPPORT), NamesWithCondtions: conditions(info, rules...)}
}

func when(name string, all ...seccomp.Condition) seccomp.NameWithConditions {
	return seccomp.NameWithConditions{Name: name, Conditions: all}
}

// neither is true when the first argument has none of the values; without values, always.
func neither(values ...uint64) []seccomp.Condition {
	if len(values) == 0 {
		return []seccomp.Condition{{Operation: seccomp.GreaterOrEqual, Value: 0}}
	}
	all := make([]seccomp.Condition, len(values))
	for i, v := range values {
		all[i] = seccomp.Condition{Operation: seccomp.NotEqual, Value: v}
	}
	return all
}

// at applies conditions to another argument.
func at(argument uint32, all []seccomp.Condition) []seccomp.Condition {
	for i := range all {
		all[i].Argument = argument
	}
	return all
}

// known leaves out calls that this architecture does not have.
func known(info *arch.Info, names []string) []string {
	var found []string
	for _, name := range names {
		if _, ok := info.SyscallNames[name]; ok {
			found = append(found, name)
		}
	}
	return found
}

func conditions(info *arch.Info, rules ...seccomp.NameWithConditions) []seccomp.NameWithConditions {
	var found []seccomp.NameWithConditions
	for _, rule := range rules {
		if _, ok := info.SyscallNames[rule.Name]; ok {
			found = append(found, rule)
		}
	}
	return found
}

// youngest is the highest number of a system call that has a name.
func youngest(info *arch.Info) uint32 {
	highest := 0
	for number := range info.SyscallNumbers {
		highest = max(highest, number)
	}
	return uint32(highest)
}

// encode lays a program out as the kernel's struct sock_filter.
func encode(program []bpf.RawInstruction) []byte {
	var out []byte
	for _, in := range program {
		out = binary.NativeEndian.AppendUint16(out, in.Op)
		out = append(out, in.Jt, in.Jf)
		out = binary.NativeEndian.AppendUint32(out, in.K)
	}
	return out
}
