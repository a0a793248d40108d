package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Scope is a right of a key.
type Scope string

// The scopes of keys.
const (
	Execute  Scope = "execute"  // execute code, submit and cancel jobs
	Read     Scope = "read"     // look at jobs, their results and events, at queues and runtimes
	Files    Scope = "files"    // read and delete files of jobs
	Sessions Scope = "sessions" // open sessions, use their files, and end them
	Admin    Scope = "admin"    // everything, of all tenants
)

// Scopes are the rights of a key.
type Scopes []Scope

// UsualScopes are the rights of a key for which none are named: all but Admin.
func UsualScopes() Scopes { return Scopes{Execute, Read, Files, Sessions} }

func known() Scopes { return append(UsualScopes(), Admin) }

// Has reports whether the scopes include one.
func (s Scopes) Has(one Scope) bool { return slices.Contains(s, one) || slices.Contains(s, Admin) }

func (s Scopes) check() error {
	if s != nil && len(s) == 0 {
		return errors.New("an empty list gives no rights; leave it out for all but admin")
	}
	for _, one := range s {
		if !slices.Contains(known(), one) {
			return fmt.Errorf("%q is none; want some of %s", one, known())
		}
	}
	return nil
}

func (s Scopes) String() string {
	texts := make([]string, len(s))
	for i, one := range s {
		texts[i] = string(one)
	}
	return strings.Join(texts, ", ")
}
