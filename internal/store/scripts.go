package store

import (
	"embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/luascript"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// The scripts of this package are called with keys and arguments by name.
type (
	script = luascript.Script
	keys   = luascript.Keys
	args   = luascript.Args
)

type scripts struct {
	create, due, enqueued, claim, finish, reject, cancel, watch, rescue, sweep, unattended, rate, hooks, hooked                        script
	list, mend, waiting, requeue, events, follow, expired, drop, room, forget, remove                                                  script
	open, fork, next, close, interrupt, sessions, leave, observe, input, reply, unstarted, unclaim, move, joined, waits, schema, tally script
	tellCommand, tookCommand, attach, output, taken, started                                                                           script
	change, halt                                                                                                                       script
	pause, unpause, drain, sample                                                                                                      script
	batchOpen, batchResume, batchAdd, batchClose, batchLeave, batchRemove, batchCancel, batchFed, batchUnfed, batchMend, batchSample   script
	save, unsave, fire, pass, runs                                                                                                     script
	batchHooked, archives, archived, takes, install                                                                                    script
	takeVolume, roomVolume, saveVolume, leaveVolume, dropVolume, volumes                                                               script
}

// constants are the bounds for the scripts, which precede each script.
func constants(cfg Config) string {
	return fmt.Sprintf("local MAX_FILES, MAX_CALLER_FILES, MAX_EVENTS = %d, %d, %d\n", cfg.MaxFiles, cfg.MaxCallerFiles, cfg.EventBytes) +
		fmt.Sprintf("local MAX_DEPTH, MAX_CALLER_DEPTH, WINDOW, HOOK_TTL = %d, %d, %d, %d\n",
			cfg.MaxDepth, cfg.MaxCallerDepth, cfg.Window, cfg.HookTTL.Milliseconds()) +
		fmt.Sprintf("local MAX_CALLER_SESSIONS, MAX_SESSION_DEPTH, EVICT_AFTER, LOG_TTL = %d, %d, %d, %d\n",
			cfg.MaxCallerSessions, maxSessionDepth, cfg.EvictAfter.Milliseconds(), (2*observeLease).Milliseconds()) +
		fmt.Sprintf("local MAX_SESSION_MEMORY, MAX_SESSION_DISK = %d, %d\n", cfg.MaxCallerSessionMemory, cfg.MaxCallerSessionDisk) +
		fmt.Sprintf("local RESERVE, USAGE_TTL, MAX_REFUSALS, MAX_LANES, CALLS_TTL = '%s', %d, %d, %d, %d\n",
			cfg.Reserve, cfg.UsageTTL.Milliseconds(), job.MaxBatchRefusals, job.MaxLanes, callsTTL.Milliseconds()) +
		fmt.Sprintf("local VOLUME_TTL, VOLUME_SAVING, VOLUME_REPLACED = %d, %d, %d\n", cfg.VolumeTTL.Milliseconds(), volumeSaving.Milliseconds(), volumeReplaced.Milliseconds())
}

// loaded is a script with the functions that it needs, without the constants of a Config.
type loaded struct {
	script
	text string
}

// luaScripts loads all scripts, once in a process. A mistake in one is an error of the build.
var luaScripts = sync.OnceValue(func() map[string]loaded { //nolint:gochecknoglobals // never changes
	common := cut(tellLua + readLua("common"))
	all := map[string]loaded{}
	files, err := luaFiles.ReadDir("lua")
	if err != nil {
		panic(err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(f.Name(), ".lua"); name != "common" {
			s, body := luascript.Parse(name, readLua(name))
			all[name] = loaded{s, common.needed(body) + body}
		}
	}
	return all
})

// readLua reads an embedded script, with those that it includes. A missing one is an error of the build.
func readLua(name string) string {
	text, err := luaFiles.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err)
	}
	return luaInclude.ReplaceAllStringFunc(string(text), func(line string) string {
		return readLua(luaInclude.FindStringSubmatch(line)[1])
	})
}

// luaInclude is a line in place of which another script is to be. Its keys and arguments become those of the script, too.
var luaInclude = regexp.MustCompile(`(?m)^-- include (\w+)$`)

// luaFunction is a function of common.lua.
var luaFunction = regexp.MustCompile(`(?m)^local function (\w+)(?:.* end|(?:.*\n)+?end)\n`)

// library is common.lua, cut into its functions and the lines between them.
type library []part

type part struct {
	function string // its name; empty for lines between functions
	text     string
	names    []string // what it may call
}

func cut(common string) library {
	var lib library
	at := 0
	for _, f := range luaFunction.FindAllStringSubmatchIndex(common, -1) {
		text := common[f[0]:f[1]]
		lib = append(lib, part{text: common[at:f[0]]}, part{common[f[2]:f[3]], text, called(text)})
		at = f[1]
	}
	return append(lib, part{text: common[at:]})
}

// needed returns the parts that a script needs. Redis makes each function anew whenever a script
// runs. Making all of them takes longer than the script.
func (lib library) needed(body string) string {
	names := map[string]bool{}
	for _, name := range called(body) {
		names[name] = true
	}
	texts := make([]string, len(lib))
	for i, p := range slices.Backward(lib) { // one uses only those before it
		if p.function != "" && !names[p.function] {
			continue
		}
		texts[i] = p.text
		for _, name := range p.names {
			names[name] = true
		}
	}
	return strings.Join(texts, "")
}

// called returns the names that an opening parenthesis follows. A regular expression would cost more than
// all else at the start of a process.
func called(text string) (names []string) {
	for at, c := range []byte(text) {
		if c != '(' {
			continue
		}
		begin := at
		for begin > 0 && strings.IndexByte(wordBytes, text[begin-1]) >= 0 {
			begin--
		}
		if begin < at {
			names = append(names, text[begin:at])
		}
	}
	return names
}

const wordBytes = "_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
