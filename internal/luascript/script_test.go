package luascript_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/luascript"
)

// TestScriptArguments: the names of a script become numbers, and the values of a call get these.
func TestScriptArguments(t *testing.T) {
	t.Parallel()
	const text = `-- some: what it does.
-- keys: job, events
-- args: id, oldest (id of the oldest, or ''),
--       last
-- each: seq, type (of it)
local id, last = ARGV.id, ARGV.last
for i = REST, #ARGV, STEP do put(KEYS.events, ARGV[i].seq, ARGV[i].type) end
return ARGV[REST].type
`
	s, body := luascript.Parse("some", text)
	const want = `local id, last = ARGV[1], ARGV[3]
for i = 4, #ARGV, 2 do put(KEYS[2], ARGV[i], ARGV[i + 1]) end
return ARGV[4 + 1]
`
	if !strings.HasSuffix(body, want) {
		t.Errorf("%s", body)
	}
	byKey, byNumber := s.Bind(luascript.Keys{{"job", "j"}, {"events", "e"}}, luascript.Args{{"id", 1}, {"oldest", 2}, {"last", 3}},
		luascript.Args{{"seq", 4}, {"type", 5}}, luascript.Args{{"seq", 6}, {"type", 7}})
	if !slices.Equal(byKey, []string{"j", "e"}) || !slices.Equal(byNumber, []any{1, 2, 3, 4, 5, 6, 7}) {
		t.Errorf("%v %v", byKey, byNumber)
	}
}

// TestScriptArgumentsUnknown: a name that a script's header has not is refused, in Lua and in Go.
func TestScriptArgumentsUnknown(t *testing.T) {
	t.Parallel()
	const header = "-- keys: job\n-- args: id, to\n"
	load := func(body string) func() { return func() { luascript.Parse("some", header+body) } }
	bind := func(k luascript.Keys, a luascript.Args, each ...luascript.Args) func() {
		s, _ := luascript.Parse("some", header)
		return func() { s.Bind(k, a, each...) }
	}
	job := luascript.Keys{{"job", "j"}}
	for name, try := range map[string]func(){
		"argument in Lua": load("return ARGV.from"),
		"key in Lua":      load("return KEYS.id"),
		"group in Lua":    load("return ARGV[i].id"),
		"argument in Go":  bind(job, luascript.Args{{"id", 1}, {"from", 2}}),
		"order in Go":     bind(job, luascript.Args{{"to", 1}, {"id", 2}}),
		"number in Go":    bind(job, luascript.Args{{"id", 1}}),
		"key in Go":       bind(luascript.Keys{{"session", "s"}}, luascript.Args{{"id", 1}, {"to", 2}}),
		"group in Go":     bind(job, luascript.Args{{"id", 1}, {"to", 2}}, luascript.Args{{"id", 3}}),
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			try()
		}()
	}
}
