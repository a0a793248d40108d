package sandbox

import "embed"

// Scripts are what a worker's processes do to themselves. The zygote loads them.
//
//go:embed seal.py program.py network.py
var Scripts embed.FS

// MemoryControl is what limits the memory of a sandbox, as Advice knows it. It is no
// layer: where no control group can be made, a watchdog does it.
const MemoryControl = "memory control"

// Level is how far a worker is isolated.
type Level string

// The levels, from the strongest to the weakest.
const (
	Strict Level = "strict"
	Basic  Level = "basic"
	None   Level = "none"
)

// Layers are the names of what level l is made of, as seal.py reports them, in the
// order in which they are first tried: those before one that fails did not.
func (l Level) Layers() []string {
	switch l {
	case Strict:
		return []string{
			"user namespace", "ipc namespace", "cgroup namespace", "landlock", "no_new_privs", "rlimits", "mount namespace",
			"uts namespace", "pid namespace", "proc", "network namespace", "capabilities", "seccomp",
		}
	case Basic:
		return []string{"landlock", "no_new_privs", "rlimits", "capabilities", "seccomp"}
	case None:
		return []string{"no_new_privs", "rlimits"}
	}
	return nil
}

// Advice says what an operator can change when a layer does not hold.
func Advice(layer string) string {
	switch layer {
	case "user namespace", "namespaces":
		return "allow user namespaces: on the host set sysctl user.max_user_namespaces above 0 and, where they exist, " +
			"kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0; in a container use " +
			"deploy/seccomp.json as its seccomp profile; or run the runner as root"
	case "mount namespace":
		return "allow mounts in user namespaces: in a container use deploy/seccomp.json as its seccomp profile and " +
			"an AppArmor profile that allows mount (apparmor=unconfined); Linux 5.12 or later is needed"
	case "proc":
		return "let a fresh /proc be mounted: give the container the volume whole-proc as docker-compose.yml does, or start it with " +
			"security_opt systempaths=unconfined (Kubernetes: procMount: Unmasked)"
	case "network namespace":
		return "allow network namespaces: set sysctl user.max_net_namespaces above 0"
	case "landlock":
		return "enable Landlock: Linux 5.13 or later with landlock in the kernel's lsm= list; in a container allow the " +
			"landlock_* system calls in its seccomp profile"
	case "seccomp":
		return "use a kernel with CONFIG_SECCOMP_FILTER"
	case "capabilities", "no_new_privs", "rlimits", "process supervision":
		return "use Linux 5.12 or later"
	case MemoryControl:
		return "let the runner divide its control group: as a systemd service with Delegate=memory pids cpu, in a container " +
			"with a writable /sys/fs/cgroup; or run it as root"
	case "memory limit":
		return "mount /proc writable for the runner"
	}
	return ""
}
