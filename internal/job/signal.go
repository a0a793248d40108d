package job

import (
	"slices"
	"strconv"
	"strings"
)

// IsSignal reports whether Linux has a signal of this name, with or without SIG. RTMIN+n and RTMAX-n are those for
// programs.
func IsSignal(name string) bool {
	name = strings.TrimPrefix(strings.ToUpper(name), "SIG")
	if slices.Contains(strings.Fields(signalNames), name) {
		return true
	}
	const realTime = 30 // from RTMIN to RTMAX, with glibc
	for prefix, sign := range map[string]int{"RTMIN": 1, "RTMAX": -1} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			n, err := strconv.Atoi(rest)
			return rest == "" || err == nil && n*sign >= 0 && n*sign <= realTime
		}
	}
	return false
}

const signalNames = `ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP
	TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ`
