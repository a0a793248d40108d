package store

import (
	"embed"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
)

//go:embed lua/*.lua
var luaFiles embed.FS

type scripts struct {
	create, due, enqueued, claim, finish, reject, cancel, watch, rescue, sweep, unattended, rate, hooks, hooked                      script
	mend, waiting, requeue, events, follow, expired, drop, room, forget, remove                                                      script
	open, fork, next, close, interrupt, sessions, leave, observe, input, unstarted, unclaim, move, joined, waits, schema, tally      script
	pause, unpause, drain                                                                                                            script
	batchOpen, batchResume, batchAdd, batchClose, batchLeave, batchRemove, batchCancel, batchFed, batchUnfed, batchMend, batchSample script
}

// constants are the bounds for the scripts, which precede each script.
func constants(cfg Config) string {
	return fmt.Sprintf("local MAX_FILES, MAX_CALLER_FILES, MAX_EVENTS = %d, %d, %d\n", cfg.MaxFiles, cfg.MaxCallerFiles, cfg.EventBytes) +
		fmt.Sprintf("local MAX_DEPTH, MAX_CALLER_DEPTH, WINDOW, HOOK_TTL = %d, %d, %d, %d\n",
			cfg.MaxDepth, cfg.MaxCallerDepth, cfg.Window, cfg.HookTTL.Milliseconds()) +
		fmt.Sprintf("local MAX_CALLER_SESSIONS, MAX_SESSION_DEPTH, EVICT_AFTER, LOG_TTL = %d, %d, %d, %d\n",
			cfg.MaxCallerSessions, maxSessionDepth, cfg.EvictAfter.Milliseconds(), (2*observeLease).Milliseconds()) +
		fmt.Sprintf("local RESERVE, USAGE_TTL, MAX_REFUSALS = '%s', %d, %d\n", cfg.Reserve, cfg.UsageTTL.Milliseconds(), job.MaxBatchRefusals)
}

// readLua reads an embedded script. A missing one is an error of the build.
func readLua(name string) string {
	text, err := luaFiles.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err)
	}
	return string(text)
}

// luaFunction is a function of common.lua.
var luaFunction = regexp.MustCompile(`(?m)^local function (\w+)(?:.* end|(?:.*\n)+?end)\n`)

// needed returns a script preceded by the parts of common that it needs; functions are their
// places in common. Redis makes each function anew whenever a script runs. Making all of them
// takes longer than the script.
func needed(common string, functions [][]int, body string) string {
	for _, at := range slices.Backward(functions) { // one uses only those before it
		name := common[at[2]:at[3]]
		if !calls(common[at[1]:], name) && !calls(body, name) {
			common = common[:at[0]] + common[at[1]:]
		}
	}
	return common + body
}

// calls reports whether text calls a function. A regular expression for each function would cost
// more than all else at the start of a process.
func calls(text, function string) bool {
	for before, after, found := strings.Cut(text, function+"("); found; before, after, found = strings.Cut(after, function+"(") {
		if before == "" || !strings.ContainsRune(wordRunes, rune(before[len(before)-1])) {
			return true
		}
	}
	return false
}

const wordRunes = "_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
