package schedule_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/schedule"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

// TestNext: the times of lines, in zones whose clocks are set forward and back.
func TestNext(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		line, zone, after string
		want              []string // in the zone
	}{
		"every minute":        {"* * * * *", "", "2026-01-01T00:00:30Z", []string{"2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"}},
		"at the moment":       {"0 * * * *", "", "2026-01-01T01:00:00Z", []string{"2026-01-01T02:00:00Z"}},
		"hourly":              {"@hourly", "", "2026-01-01T01:30:00Z", []string{"2026-01-01T02:00:00Z"}},
		"midnight":            {"@midnight", "Europe/Berlin", "2026-01-01T01:30:00Z", []string{"2026-01-02T00:00:00+01:00"}},
		"spaces":              {"  5   4 * *\tmon ", "", "2026-01-01T00:00:00Z", []string{"2026-01-05T04:05:00Z"}},
		"either day":          {"0 0 13 * FRI", "", "2026-02-10T00:00:00Z", []string{"2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"}},
		"leap day":            {"0 0 29 2 *", "", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		"half an hour off":    {"0 9 * * *", "Asia/Kolkata", "2026-01-01T00:00:00Z", []string{"2026-01-01T09:00:00+05:30"}},
		"skipped":             {"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		"several skipped":     {"0,30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"}},
		"skipped in New York": {"15 2 * * *", "America/New_York", "2026-03-08T00:00:00Z", []string{"2026-03-08T03:00:00-04:00", "2026-03-09T02:15:00-04:00"}},
		"twice":               {"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		"twice, between":      {"30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", []string{"2026-10-26T02:30:00+01:00"}},
		"twice, often":        {"*/20 2 * * *", "Europe/Berlin", "2026-10-25T00:10:00Z", []string{"2026-10-25T02:20:00+02:00", "2026-10-25T02:40:00+02:00", "2026-10-26T02:00:00+01:00"}},
		"all hours, forward":  {"30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"}},
		"all hours, back":     {"30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", []string{"2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"}},
		"no midnight":         {"0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", []string{"2026-09-06T01:00:00-03:00", "2026-09-07T00:00:00-03:00"}},
		"by half an hour":     {"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		"a skipped day":       {"0 12 * * *", "Pacific/Apia", "2011-12-29T23:00:00Z", []string{"2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			times, err := schedule.Parse(c.line, c.zone)
			if err != nil {
				t.Fatal(err)
			}
			got := times.Upcoming(at(t, c.after), len(c.want))
			if !slices.EqualFunc(got, c.want, func(g time.Time, want string) bool { return g.Equal(at(t, want)) }) {
				t.Errorf("after %s: %v, want %v", c.after, got, c.want)
			}
		})
	}
}

// TestEachTimeOnce walks two years of lines in zones: a time comes after the one before, and the days that a daily
// line names have one each.
func TestEachTimeOnce(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Gaza"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"0 0 * * *", "30 1 * * *", "30 2 * * *", "59 23 * * *"} {
			times, err := schedule.Parse(line, name)
			if err != nil {
				t.Fatal(err)
			}
			last := time.Date(2026, 1, 1, 23, 59, 59, 0, zone)
			for day := range 730 {
				next := times.Next(last)
				wanted := time.Date(2026, 1, 2+day, 12, 0, 0, 0, zone)
				if !next.After(last) || next.In(zone).YearDay() != wanted.YearDay() {
					t.Fatalf("%s in %s: %v after %v", line, name, next.In(zone), last.In(zone))
				}
				last = next
			}
		}
	}
}

// TestLast: the last of the times that were missed, however many they are.
func TestLast(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ line, earliest, until, want string }{
		{"* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:00:10Z", "2026-01-01T00:00:00Z"},
		{"* * * * *", "2026-01-01T00:00:00Z", "2027-01-01T00:00:10Z", "2027-01-01T00:00:00Z"},
		{"0 0 * * *", "2026-01-01T00:00:00Z", "2026-03-05T12:00:00Z", "2026-03-05T00:00:00Z"},
		{"0 0 1 1 *", "2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z", "2026-01-01T00:00:00Z"},
		{"0 0 29 2 *", "2028-02-29T00:00:00Z", "2033-01-01T00:00:00Z", "2032-02-29T00:00:00Z"},
	} {
		times, err := schedule.Parse(c.line, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := times.Last(at(t, c.earliest), at(t, c.until)); !got.Equal(at(t, c.want)) {
			t.Errorf("%s until %s: %v, want %s", c.line, c.until, got, c.want)
		}
	}
}

// TestFaults: lines and zones that are refused, and the words for it.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ line, zone, want string }{
		{"", "", "has 0 fields"},
		{"* * * *", "", "has 4 fields and not 5"},
		{"0 * * * * *", "", "no seconds"},
		{"60 * * * *", "", `field 1, minute, is "60"`},
		{"* 24 * * *", "", `field 2, hour, is "24"`},
		{"* * 0 * *", "", `field 3, day of the month, is "0"`},
		{"* * * 13 *", "", `field 4, month, is "13"`},
		{"* * * * 7", "", `field 5, day of the week, is "7"`},
		{"* * L * *", "", `field 3`},
		{"*/0 * * * *", "", `field 1`},
		{"5-1 * * * *", "", `field 1`},
		{"-1 * * * *", "", `field 1`},
		{"99999999999999999999 * * * *", "", `field 1`},
		{"0 0 31 2 *", "", "never comes"},
		{"0 0 30 2 *", "Europe/Berlin", "never comes"},
		{"* * 31 4,6,9,11 *", "", "never comes"},
		{"@every 1s", "", `"@every 1s" is none of @hourly`},
		{"@reboot", "", "is none of"},
		{"TZ=UTC", "", "send timeZone"},
		{"TZ=UTC * * * * *", "", "send timeZone"},
		{"CRON_TZ=Europe/Berlin 0 0 * * *", "", "send timeZone"},
		{"* * * * *", "Europe/Nowhere", `"Europe/Nowhere" is no time zone`},
		{"* * * * *", "Local", "is no time zone"},
		{"* * * * *", "../etc/passwd", "is no time zone"},
		{"* * * * *", "+01:00", "is no time zone"},
	} {
		_, err := schedule.Parse(c.line, c.zone)
		fault, ok := errors.AsType[*schedule.Fault](err)
		if !ok || !strings.Contains(fault.Message, c.want) || fault.Zone != (c.zone != "" && !strings.Contains(c.want, "never")) {
			t.Errorf("%q in %q: %v, want %s", c.line, c.zone, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("*/5 1-3 * * mon", "Europe/Berlin")
	f.Add("TZ=", "UTC")
	f.Add("@daily", "")
	f.Fuzz(func(t *testing.T, line, zone string) {
		times, err := schedule.Parse(line, zone)
		if err != nil {
			return
		}
		after := time.Unix(1_800_000_000, 0)
		if next := times.Next(after); !next.IsZero() && (!next.After(after) || next.Second() != 0) {
			t.Errorf("%q in %q: %v", line, zone, next)
		}
	})
}
