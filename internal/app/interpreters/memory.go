package interpreters

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/sandbox"
)

// outputShare is the divisor that gives the part of a runner's memory for kept output. leastOutput
// is the least that output may take.
const (
	outputShare = 8
	leastOutput = 64 << 20
)

// outputMemory returns the memory that the output of all executions may take in this process.
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
