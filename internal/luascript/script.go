// Package luascript has scripts of Redis whose keys and arguments have names.
package luascript

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Script is a script whose header names its arguments:
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
type Script struct {
	*redis.Script
	name string
	// Keys, Args and Each are the names in the header.
	Keys, Args, Each []string
}

// Key is a key with the name that it has in a script. It has no type of its own, so that calls may write it
// without the names of the fields.
type Key = struct{ Name, Value string }

// Arg is an argument with the name that it has in a script. It has no type of its own either.
type Arg = struct {
	Name  string
	Value any
}

// Keys are the keys of a call, in the order of the script's header.
type Keys []Key

// Args are the arguments of a call, in the order of the script's header.
type Args []Arg

// New returns a script that needs no other text than its own.
func New(name, text string) Script {
	s, body := Parse(name, text)
	s.Script = redis.NewScript(body)
	return s
}

var (
	luaHeader      = regexp.MustCompile(`(?m)^-- (keys|args|each): (.*(?:\n--  +.*)*)`)
	luaExplanation = regexp.MustCompile(`\([^)]*\)|\n--`)
	luaArgument    = regexp.MustCompile(`\b(KEYS|ARGV|ARGV\[(\w+)\])\.(\w+)|\bREST\b|\bSTEP\b`)
)

// Parse reads the text of a script, and returns it with numbers in place of names, for a script that is
// preceded by other text. A name that is not in the header is an error of the build.
func Parse(name, text string) (s Script, body string) {
	s.name = name
	for _, line := range luaHeader.FindAllStringSubmatch(text, -1) {
		var names []string
		for n := range strings.SplitSeq(luaExplanation.ReplaceAllString(line[2], ""), ",") {
			names = append(names, strings.TrimSpace(n))
		}
		switch line[1] {
		case "keys":
			s.Keys = append(s.Keys, names...)
		case "args":
			s.Args = append(s.Args, names...) // those of a script that it includes follow its own
		case "each":
			s.Each = names
		}
	}
	return s, luaArgument.ReplaceAllStringFunc(text, s.number)
}

// number returns the form with a number for a name of an argument.
func (s *Script) number(use string) string {
	m := luaArgument.FindStringSubmatch(use)
	place := func(names []string) int {
		at := slices.Index(names, m[3])
		if at < 0 {
			panic(fmt.Sprintf("script %s has no argument %s", s.name, use))
		}
		return at
	}
	switch {
	case use == "REST":
		return strconv.Itoa(len(s.Args) + 1)
	case use == "STEP":
		return strconv.Itoa(len(s.Each))
	case m[1] == "KEYS":
		return fmt.Sprintf("KEYS[%d]", place(s.Keys)+1)
	case m[2] == "":
		return fmt.Sprintf("ARGV[%d]", place(s.Args)+1)
	}
	group := strings.Replace(m[2], "REST", strconv.Itoa(len(s.Args)+1), 1)
	if at := place(s.Each); at > 0 {
		return fmt.Sprintf("ARGV[%s + %d]", group, at)
	}
	return fmt.Sprintf("ARGV[%s]", group)
}

// Bind returns the arguments of a call by number. It panics at names that are not those of the
// script's header.
func (s *Script) Bind(k Keys, a Args, each ...Args) (byKey []string, byNumber []any) {
	byKey = place(s.name, s.Keys, k, make([]string, 0, len(k)))
	byNumber = place(s.name, s.Args, a, make([]any, 0, len(a)+len(each)*len(s.Each)))
	for _, group := range each {
		byNumber = place(s.name, s.Each, group, byNumber)
	}
	return byKey, byNumber
}

// Call executes the script on Redis.
func (s *Script) Call(ctx context.Context, rdb redis.Scripter, k Keys, a Args, each ...Args) *redis.Cmd {
	byKey, byNumber := s.Bind(k, a, each...)
	return s.Run(ctx, rdb, byKey, byNumber...)
}

// place appends values, which must have these names.
func place[T any](script string, names []string, given []struct {
	Name  string
	Value T
}, to []T,
) []T {
	if len(given) != len(names) {
		panic(fmt.Sprintf("script %s gets %d arguments in place of %v", script, len(given), names))
	}
	for i, g := range given {
		if g.Name != names[i] {
			panic(fmt.Sprintf("script %s gets %s in place of %s", script, g.Name, names[i]))
		}
		to = append(to, g.Value)
	}
	return to
}
