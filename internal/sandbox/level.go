package sandbox

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
