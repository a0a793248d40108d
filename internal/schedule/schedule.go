// Package schedule computes the times of recurring jobs: those of a cron line in a time zone. It
// knows no clock and no store.
package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // images of containers may have no zones

	"github.com/robfig/cron/v3"
)

// Fault says what is wrong with a cron line or a time zone.
type Fault struct {
	Zone    bool // of the time zone; else of the line
	Message string
}

func (f *Fault) Error() string { return f.Message }

// Times are the times of a cron line in a time zone.
type Times struct {
	spec cron.SpecSchedule
	zone *time.Location
	// hourly: the line names all hours. It goes by the time that passes, and the others by the clock on the wall.
	hourly bool
}

// field is one of a cron line.
type field struct{ name, values string }

func fieldsOfLine() []field {
	return []field{
		{"minute", "0 to 59"},
		{"hour", "0 to 23"},
		{"day of the month", "1 to 31"},
		{"month", "1 to 12 or JAN to DEC"},
		{"day of the week", "0 to 6 or SUN to SAT"},
	}
}

// descriptors are the lines that have a name.
func descriptors() []string {
	return []string{"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"}
}

// Parse reads a cron line of five fields, or a descriptor. An empty zone is UTC. Errors are Faults.
func Parse(line, zone string) (Times, error) {
	loc, err := location(zone)
	if err != nil {
		return Times{}, err
	}
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	line = strings.Join(strings.Fields(line), " ")
	if err := check(parser, line); err != nil {
		return Times{}, err
	}
	parsed, err := parser.Parse(line)
	spec, ok := parsed.(*cron.SpecSchedule)
	if err != nil || !ok {
		return Times{}, &Fault{Message: fmt.Sprintf("%q is no cron line: %v", line, err)} // check lets none of these pass
	}
	const allHours = 1<<24 - 1
	t := Times{spec: *spec, zone: loc, hourly: spec.Hour&allHours == allHours}
	t.spec.Location = time.UTC // for the clock on the wall
	if t.hourly {
		t.spec.Location = loc
	}
	if t.spec.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Times{}, &Fault{Message: fmt.Sprintf("%q never comes: no month that it names has the day", line)}
	}
	return t, nil
}

func location(zone string) (*time.Location, error) {
	if zone == "" {
		return time.UTC, nil
	}
	loc, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return nil, &Fault{Zone: true, Message: fmt.Sprintf("%q is no time zone; write a name of the IANA database, such as Europe/Berlin or UTC", zone)}
	}
	return loc, nil
}

// check words what is wrong with a line. It lets nothing pass that the parser understands and Kaa does not: other
// intervals, and a time zone in the line.
func check(parser cron.Parser, line string) error {
	if strings.HasPrefix(line, "@") {
		if !slices.Contains(descriptors(), line) {
			return &Fault{Message: fmt.Sprintf("%q is none of %s; or write five fields", line, strings.Join(descriptors(), ", "))}
		}
		return nil
	}
	parts, known := strings.Fields(line), fieldsOfLine()
	if len(parts) > 0 && strings.Contains(parts[0], "=") {
		return &Fault{Message: fmt.Sprintf("%q does not belong into the line; send timeZone", parts[0])}
	}
	if len(parts) != len(known) {
		return &Fault{Message: fmt.Sprintf("has %d fields and not 5: minute, hour, day of the month, month, day of the week (there are no seconds)", len(parts))}
	}
	for i, part := range parts {
		alone := []string{"*", "*", "*", "*", "*"}
		alone[i] = part
		if _, err := parser.Parse(strings.Join(alone, " ")); err != nil {
			return &Fault{Message: fmt.Sprintf("field %d, %s, is %q; write %s, a range (a-b), a list (a,b), a step (*/n), or *", i+1, known[i].name, part, known[i].values)}
		}
	}
	return nil
}

// Next returns the first time after a moment; zero if none comes within five years.
func (t Times) Next(after time.Time) time.Time {
	if t.hourly {
		return t.spec.Next(after.In(t.zone)).UTC()
	}
	// The clock on the wall is written as a time in UTC. One that shows a time twice, or never, is a matter of moment
	// alone. Its time is not after the moment only if the clock was set back, by two days at the very most.
	for shown := onWall(after, t.zone); ; {
		if shown = t.spec.Next(shown); shown.IsZero() {
			return time.Time{}
		}
		if at := moment(shown, t.zone); at.After(after) {
			return at
		}
	}
}

// Last returns the last time that is not after a moment and not before earliest, which is one of the times.
func (t Times) Last(earliest, until time.Time) time.Time {
	last := earliest
	// Between two times of a line there may be minutes or years: look back further and further.
	for back := time.Minute; until.Add(-back).After(earliest); back *= 2 {
		if at := t.Next(until.Add(-back)); !at.IsZero() && !at.After(until) {
			last = at
			break
		}
	}
	for {
		at := t.Next(last)
		if at.IsZero() || at.After(until) {
			return last
		}
		last = at
	}
}

// Upcoming returns the first n times after a moment.
func (t Times) Upcoming(after time.Time, n int) []time.Time {
	var all []time.Time
	for at := t.Next(after); len(all) < n && !at.IsZero(); at = t.Next(at) {
		all = append(all, at)
	}
	return all
}

// onWall is what a clock in the zone shows at a moment, as a time in UTC.
func onWall(at time.Time, zone *time.Location) time.Time {
	_, offset := at.In(zone).Zone()
	return at.UTC().Add(time.Duration(offset) * time.Second)
}

// moment is when a clock in the zone shows a time first. If it skips the time, that is when it does so.
func moment(shown time.Time, zone *time.Location) time.Time {
	const around = 24 * time.Hour // the offset changes once within it
	before := shown.Add(-offset(shown.Add(-around), zone))
	after := shown.Add(-offset(shown.Add(around), zone))
	first, second := before, after
	if second.Before(first) {
		first, second = second, first
	}
	for _, at := range []time.Time{first, second} {
		if onWall(at, zone).Equal(shown) {
			return at
		}
	}
	skips, _ := second.In(zone).ZoneBounds()
	return skips.UTC()
}

func offset(at time.Time, zone *time.Location) time.Duration {
	_, seconds := at.In(zone).Zone()
	return time.Duration(seconds) * time.Second
}
