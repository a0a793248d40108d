package store

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// script is a script of lua/. Its header names its arguments:
//
//	-- keys: job, events
//	-- args: id, attempt, oldest (id of the oldest event to keep, or '')
//	-- each: seq, type, data
//
// An explanation in parentheses may follow a name. The script reads KEYS.job and ARGV.attempt.
// After the arguments of args there may be any number of groups of those of each:
//
//	for i = REST, #ARGV, STEP do ... ARGV[i].type ... end
//
// When the script is loaded, these names become the numbers that Redis knows: KEYS[1], ARGV[2],
// ARGV[i + 1]. Calls pass the same names, so that Go and Lua cannot disagree.
type script struct {
	*redis.Script
	name             string
	keys, args, each []string
}

// named is a value with the name that it has in a script.
type named[T any] struct {
	name  string
	value T
}

// keys and args are the arguments of a call, in the order of the script's header.
type (
	keys []named[string]
	args []named[any]
)

var (
	luaHeader      = regexp.MustCompile(`(?m)^-- (keys|args|each): (.*(?:\n--  +.*)*)`)
	luaExplanation = regexp.MustCompile(`\([^)]*\)|\n--`)
	luaArgument    = regexp.MustCompile(`\b(KEYS|ARGV|ARGV\[(\w+)\])\.(\w+)|\bREST\b|\bSTEP\b`)
)

// parseScript reads the text of a script's file, and returns it with numbers in place of names. A name that
// is not in the header is an error of the build.
func parseScript(name, text string) (s script, body string) {
	s.name = name
	for _, line := range luaHeader.FindAllStringSubmatch(text, -1) {
		var names []string
		for n := range strings.SplitSeq(luaExplanation.ReplaceAllString(line[2], ""), ",") {
			names = append(names, strings.TrimSpace(n))
		}
		switch line[1] {
		case "keys":
			s.keys = append(s.keys, names...)
		case "args":
			s.args = append(s.args, names...) // those of a script that it includes follow its own
		case "each":
			s.each = names
		}
	}
	return s, luaArgument.ReplaceAllStringFunc(text, s.number)
}

// number returns the form with a number for a name of an argument.
func (s *script) number(use string) string {
	m := luaArgument.FindStringSubmatch(use)
	place := func(names []string) int {
		at := slices.Index(names, m[3])
		if at < 0 {
			panic(fmt.Sprintf("store: script %s has no argument %s", s.name, use))
		}
		return at
	}
	switch {
	case use == "REST":
		return strconv.Itoa(len(s.args) + 1)
	case use == "STEP":
		return strconv.Itoa(len(s.each))
	case m[1] == "KEYS":
		return fmt.Sprintf("KEYS[%d]", place(s.keys)+1)
	case m[2] == "":
		return fmt.Sprintf("ARGV[%d]", place(s.args)+1)
	}
	group := strings.Replace(m[2], "REST", strconv.Itoa(len(s.args)+1), 1)
	if at := place(s.each); at > 0 {
		return fmt.Sprintf("ARGV[%s + %d]", group, at)
	}
	return fmt.Sprintf("ARGV[%s]", group)
}

// bind returns the arguments of a call by number. It panics at names that are not those of the
// script's header.
func (s *script) bind(k keys, a args, each ...args) (byKey []string, byNumber []any) {
	byKey = place(s.name, s.keys, k, make([]string, 0, len(k)))
	byNumber = place(s.name, s.args, a, make([]any, 0, len(a)+len(each)*len(s.each)))
	for _, group := range each {
		byNumber = place(s.name, s.each, group, byNumber)
	}
	return byKey, byNumber
}

// place appends values, which must have these names.
func place[T any](script string, names []string, given []named[T], to []T) []T {
	if len(given) != len(names) {
		panic(fmt.Sprintf("store: script %s gets %d arguments in place of %v", script, len(given), names))
	}
	for i, g := range given {
		if g.name != names[i] {
			panic(fmt.Sprintf("store: script %s gets %s in place of %s", script, g.name, names[i]))
		}
		to = append(to, g.value)
	}
	return to
}
