package daytona

import (
	"cmp"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fitting reads the conditions of a listing beside its labels.
func fitting(q url.Values) (func(sandbox) bool, error) {
	ranges := map[string]func(sandbox) int64{
		"Cpu": func(s sandbox) int64 { return s.CPU }, "Gpu": func(s sandbox) int64 { return s.GPU },
		"MemoryGiB": func(s sandbox) int64 { return s.Memory }, "DiskGiB": func(s sandbox) int64 { return s.Disk },
	}
	times := map[string]func(sandbox) time.Time{
		"createdAt": func(s sandbox) time.Time { return s.CreatedAt }, "lastEvent": func(s sandbox) time.Time { return s.LastActivityAt },
		"autoDestroyAt": func(s sandbox) time.Time {
			if s.AutoDestroyAt == nil {
				return time.Time{}
			}
			return *s.AutoDestroyAt
		},
	}
	conditions := []func(sandbox) bool{
		func(s sandbox) bool { return begins(q.Get("id"), s.ID) && begins(q.Get("name"), s.Name) },
		among(manyOf(q["states"]), func(s sandbox) string { return s.State }),
		among(manyOf(q["snapshots"]), func(s sandbox) string { return s.Snapshot }),
		among(manyOf(q["regionIds"]), func(s sandbox) string { return s.Target }),
		among(manyOf(q["isPublic"]), func(s sandbox) string { return strconv.FormatBool(s.Public) }),
		among(manyOf(q["isRecoverable"]), func(sandbox) string { return "false" }),
	}
	for name, value := range ranges {
		least, most := int64(math.MinInt64), int64(math.MaxInt64)
		for part, into := range map[string]*int64{"min" + name: &least, "max" + name: &most} {
			if text := q.Get(part); text != "" {
				n, err := strconv.ParseInt(text, 10, 64)
				if err != nil {
					return nil, badRequest("%s: send a whole number", part)
				}
				*into = n
			}
		}
		conditions = append(conditions, func(s sandbox) bool { return least <= value(s) && value(s) <= most })
	}
	for name, value := range times {
		for _, part := range []string{name + "After", name + "Before"} {
			text := q.Get(part)
			if text == "" {
				continue
			}
			at, err := timeOf(text)
			if err != nil {
				return nil, badRequest("%s: send a time such as 2026-01-31T12:00:00Z", part)
			}
			later := strings.HasSuffix(part, "After")
			conditions = append(conditions, func(s sandbox) bool {
				return !value(s).IsZero() && (later && !value(s).Before(at) || !later && !value(s).After(at))
			})
		}
	}
	return func(s sandbox) bool {
		return !slices.ContainsFunc(conditions, func(fits func(sandbox) bool) bool { return !fits(s) })
	}, nil
}

// timeOf reads a time as the SDKs write it; Python's has no colon in its zone.
func timeOf(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		at, err = time.Parse("2006-01-02T15:04:05-0700", text)
	}
	return at, err
}

// among is the condition that a property is one of these; of none for no condition.
func among(allowed []string, property func(sandbox) string) func(sandbox) bool {
	return func(s sandbox) bool { return len(allowed) == 0 || slices.Contains(allowed, property(s)) }
}

// begins reports whether a text begins with the one that is asked for, whatever its case.
func begins(asked, text string) bool {
	return len(asked) <= len(text) && strings.EqualFold(asked, text[:len(asked)])
}

// manyOf reads values that are repeated, or in one with commas.
func manyOf(values []string) []string {
	var all []string
	for _, value := range values {
		for one := range strings.SplitSeq(value, ",") {
			if one != "" {
				all = append(all, one)
			}
		}
	}
	return all
}

// ordered sorts a page. Pages follow each other in the order of creation, whatever is asked for.
func ordered(items []sandbox, by, order string) {
	compare, known := map[string]func(a, b sandbox) int{
		"name": func(a, b sandbox) int { return cmp.Compare(a.Name, b.Name) }, "cpu": func(a, b sandbox) int { return cmp.Compare(a.CPU, b.CPU) },
		"memoryGib": func(a, b sandbox) int { return cmp.Compare(a.Memory, b.Memory) }, "diskGib": func(a, b sandbox) int { return cmp.Compare(a.Disk, b.Disk) },
		"lastActivityAt": func(a, b sandbox) int { return a.LastActivityAt.Compare(b.LastActivityAt) },
		"createdAt":      func(a, b sandbox) int { return a.CreatedAt.Compare(b.CreatedAt) },
	}[by]
	if !known {
		return
	}
	slices.SortStableFunc(items, func(a, b sandbox) int {
		if order == "desc" {
			a, b = b, a
		}
		return compare(a, b)
	})
}
