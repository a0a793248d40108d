// Package sandbox has the parts of the isolation around a worker: the levels,
// the seccomp filters and the control groups. A worker's processes isolate themselves
// by the scripts of package python that its kernel.py lists. The interpreter package starts those processes and
// calls this one; nothing here starts anything.
//
//	strict  namespaces of its own (user, pid, mount, net, ipc, uts, cgroup), a
//	        minimal read-only root, seccomp, Landlock, no capabilities, rlimits
//	basic   seccomp, Landlock, rlimits: for where no namespaces may be made
//	none    only the limits and the kill ladder
//
// At every level no_new_privs is set and memory is limited by a control group
// where one can be made, else by a watchdog.
//
// Failures: a layer does not hold on this machine. That is found by trying
// it for real, when a zygote is started, and reported by the layer's name; Advice
// says what to change. A level is never lowered in silence.
package sandbox
