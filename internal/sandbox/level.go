package sandbox

import (
	_ "embed" // for the script
	"fmt"
)

// Scripts are what a worker's processes do to themselves, by file name. The zygote
// loads them.
func Scripts() map[string][]byte {
	return map[string][]byte{"seal.py": sealScript, "program.py": programScript}
}

//go:embed seal.py
var sealScript []byte

//go:embed program.py
var programScript []byte

// Level is how far a worker is isolated.
type Level string

// The levels, from the strongest to the weakest.
const (
	Strict Level = "strict"
	Basic  Level = "basic"
	None   Level = "none"
)

// ParseLevel reads a level's name.
func ParseLevel(s string) (Level, error) {
	switch l := Level(s); l {
	case Strict, Basic, None:
		return l, nil
	}
	return "", fmt.Errorf("%q is no sandbox level; use strict, basic or none", s)
}

// Layers are the names of what level l is made of, as seal.py reports them.
func (l Level) Layers() []string {
	switch l {
	case Strict:
		return []string{
			"user namespace", "mount namespace", "pid namespace", "network namespace", "ipc namespace", "uts namespace",
			"cgroup namespace", "proc", "seccomp", "landlock", "capabilities", "no_new_privs", "rlimits",
		}
	case Basic:
		return []string{"seccomp", "landlock", "capabilities", "no_new_privs", "rlimits"}
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
		return "let a fresh /proc be mounted: start the container with security_opt systempaths=unconfined " +
			"(Kubernetes: procMount: Unmasked)"
	case "network namespace":
		return "allow network namespaces: set sysctl user.max_net_namespaces above 0"
	case "landlock":
		return "enable Landlock: Linux 5.13 or later with landlock in the kernel's lsm= list; in a container allow the " +
			"landlock_* system calls in its seccomp profile"
	case "seccomp":
		return "use a kernel with CONFIG_SECCOMP_FILTER"
	case "capabilities", "no_new_privs", "rlimits", "process supervision":
		return "use Linux 5.12 or later"
	case "memory limit":
		return "mount /proc writable for the runner"
	}
	return ""
}
