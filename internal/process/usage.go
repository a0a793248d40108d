package process

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Descendants lists the children of a process, their children, and so on.
func Descendants(pid int) []int {
	var all []int
	todo := []int{pid}
	for len(todo) > 0 && len(all) < 10_000 {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		list := childrenOf(next)
		all = append(all, list...)
		todo = append(todo, list...)
	}
	return all
}

// OldestChild returns the child that a process has had for the longest time; 0 if it has none.
func OldestChild(pid int) int {
	list, _ := appendChildren(nil, pid, pid)
	if len(list) == 0 {
		return 0
	}
	return list[0]
}

// childrenOf lists the children of a process. The kernel keeps them by the thread that started
// them.
func childrenOf(pid int) []int {
	threads, _ := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task") // empty if the process has ended
	var list []int
	for _, thread := range threads {
		if tid, err := strconv.Atoi(thread.Name()); err == nil {
			list, _ = appendChildren(list, pid, tid)
		}
	}
	return list
}

// PrivateMemory returns the proportional share, in bytes, of a process in the memory that it or
// an ancestor has written.
func PrivateMemory(pid int) int64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0
	}
	var kb int64
	for _, label := range []string{"Pss_Anon:", "SwapPss:"} {
		if fields := strings.Fields(afterLabel(text, label)); len(fields) > 0 {
			n, err := strconv.ParseInt(fields[0], 10, 64)
			if err == nil {
				kb += n
			}
		}
	}
	return kb * 1024
}

// FileSystemUse returns the bytes used in those directories that are file systems in memory.
func FileSystemUse(pid int, dirs []string) int64 {
	var total int64
	for _, dir := range dirs {
		var st syscall.Statfs_t
		const tmpfsMagic = 0x01021994
		if err := syscall.Statfs("/proc/"+strconv.Itoa(pid)+"/root"+dir, &st); err == nil && st.Type == tmpfsMagic {
			total += int64(st.Blocks-st.Bfree) * st.Bsize //nolint:gosec // a size fits
		}
	}
	return total
}

// CPUOfChildren returns the processor time, in microseconds, of all descendants of a process.
// That includes ended ones that were waited for, also by the process itself, because code can
// leave its processes to a slot.
func CPUOfChildren(pid int) int64 { return cpuBelow(pid) + cpuFields(pid, 13) }

func cpuBelow(pid int) int64 {
	var sum int64
	for _, pid := range Descendants(pid) {
		sum += cpuFields(pid, 11)
	}
	return sum
}

// cpuFields adds up the times of a process, from one field of its stat file on. Fields count from
// the end of the name, which may contain anything: utime is the 12th, then stime, cutime, cstime.
func cpuFields(pid, from int) int64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	var ticks int64
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	for i := from; i < 15 && i < len(fields); i++ {
		n, _ := strconv.ParseInt(fields[i], 10, 64)
		ticks += n
	}
	const tick = 10_000 // µs: the unit that Linux shows to programs, whatever it uses internally
	return ticks * tick
}
