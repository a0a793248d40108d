package app

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/sandbox"
)

// outputShare is the part of a runner's memory that what it keeps of output may take, and
// leastOutput what there is in any case.
const (
	outputShare = 8
	leastOutput = 64 << 20
)

// outputMemory is how much memory the output of all executions may take in this process.
func outputMemory() int64 {
	most := sandbox.OwnCeilings(os.DirFS("/")).Memory
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err == nil {
		if all := int64(info.Totalram) * int64(info.Unit); most == 0 || all < most { //nolint:gosec // a machine's memory fits
			most = all
		}
	}
	return max(leastOutput, most/outputShare)
}
