package sandbox

// MemoryControl is the name by which Advice knows the limit of memory. It is no layer: where no
// control group can be made, a watchdog does it.
const MemoryControl = "memory control"

// Level is the strength of a worker's isolation.
type Level string

// The levels, from the strongest to the weakest.
const (
	Strict Level = "strict"
	Basic  Level = "basic"
	None   Level = "none"
)

// Layers are the names of the layers of level l, as the scripts report them (kernel.LayerError), in the order in which
// they are first tried: those before a failing one did not fail.
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
