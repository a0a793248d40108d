package process

import (
	"runtime"
	"sync"
)

// KeepThreads makes that many threads for later. Go ends the whole process when it needs a thread
// and cannot make it, as when executed code and others have used up pids.max or RLIMIT_NPROC. It
// ends no thread that is idle.
func KeepThreads(n int) {
	var running, all sync.WaitGroup
	running.Add(n)
	for range n {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			running.Done()
			running.Wait() // each has a thread of its own until then
		})
	}
	all.Wait()
}
