package job

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Limit is a row of the table of limits: what differs between them.
type Limit struct {
	Name    string // in requests
	Setting string // the default is KAA_ and this, the ceiling KAA_MAX_ and this
	Doc     string // what it limits, for callers
	// PerExecution: an execution of a session may set it. The others belong to the session.
	PerExecution bool
	// Unlimited: a default of 0 is no limit; if there is a ceiling, that is the default.
	Unlimited bool
	// ZeroCeiling is the meaning of a ceiling of 0, where that is no number like others.
	ZeroCeiling string
	// Lowered: a default above the ceiling becomes the ceiling. Otherwise it is a mistake.
	Lowered bool
	// Standard and Ceiling have this limit where no configuration says otherwise.
	Standard, Ceiling Quota

	place
}

// place is where a Quota has a limit, and the ways to read and write it.
type place interface {
	IsZero(q *Quota) bool
	Copy(to, from *Quota)
	Less(a, b *Quota) bool
	Whole() bool
	// Least is the lowest number of a request; empty if that is 0.
	Least() string
	// Value is the number as callers have it.
	Value(q *Quota) float64
	// Number writes it as callers do.
	Number(q *Quota) string
	// Text writes it as in a setting, and Parse reads it.
	Text(q *Quota) string
	Parse(q *Quota, text string) error
	// Below returns the lowest value of a setting, if that of q is below it or none.
	Below(q *Quota) (least string, below bool)
	// ceiling puts the ceiling of an API key into q, or says why it can be none.
	ceiling(asked float64, q *Quota) (complaint string)
	// accept puts a requested number into q, or says why not.
	accept(asked float64, hi, q *Quota) (complaint string)
}

// row completes a row: how its numbers are written, its bounds, and its field of a Quota.
func row[N amount](l Limit, how notation[N], b bounds[N], of func(*Quota) *N) *Limit {
	*of(&l.Standard), *of(&l.Ceiling) = b.standard, b.ceiling
	b.leastSet = max(b.least, b.leastSet)
	l.place = field[N]{notation: how, bounds: b, of: of}
	return &l
}

// path names the limit in a message to the caller.
func (l *Limit) path() string { return "limits." + l.Name }

// Description is the text of the limit in the OpenAPI document.
func (l *Limit) Description() string {
	text := l.Doc
	if least := l.Least(); least != "" {
		text += " At least " + least + "."
	}
	ceiling := l.ZeroCeiling
	if !l.IsZero(&l.Ceiling) {
		ceiling = l.Number(&l.Ceiling)
	}
	if l.Unlimited && l.IsZero(&l.Standard) {
		return fmt.Sprintf("%s No limit and %s unless configured otherwise.", text, ceiling)
	}
	return fmt.Sprintf("%s Default %s, ceiling %s unless configured otherwise.", text, l.Number(&l.Standard), ceiling)
}

type amount interface {
	int | int64 | float64 | time.Duration
}

// bounds of a limit.
type bounds[N amount] struct {
	least    N // of a request. Below it Python does not start, or the number means nothing.
	leastSet N // of a setting, if that is more
	standard N // the default, where no configuration says otherwise
	ceiling  N // the same
}

// notation is how numbers of a kind are read and written.
type notation[N amount] struct {
	whole  bool
	most   float64                 // beyond it a number is not exact, or does not fit
	unit   string                  // of a number, in a complaint
	number func(N) float64         // as in a request
	read   func(float64) N         // the opposite; the number is within bounds
	parse  func(string) (N, error) // of a setting
	text   func(N) string          // the opposite
}

// wholes is the notation of whole numbers of so many bits.
func wholes[N int | int64](bits int) notation[N] {
	return notation[N]{
		whole: true, most: min(math.Ldexp(1, bits-1)-1, 1<<53), // beyond 2^53 a float64 skips whole numbers
		number: func(n N) float64 { return float64(n) }, read: func(f float64) N { return N(f) },
		parse: func(s string) (N, error) { n, err := strconv.ParseInt(s, 10, bits); return N(n), err },
		text:  func(n N) string { return strconv.FormatInt(int64(n), 10) },
	}
}

// fractions is the notation of numbers that need not be whole.
func fractions() notation[float64] {
	same := func(f float64) float64 { return f }
	return notation[float64]{
		most: 1e6, number: same, read: same, text: decimal,
		parse: func(s string) (float64, error) { return strconv.ParseFloat(s, 64) },
	}
}

// durations is the notation of times: seconds in a request, 1m30s in a setting.
func durations() notation[time.Duration] {
	return notation[time.Duration]{
		most: longestCPUTime.Seconds(), unit: " seconds", number: time.Duration.Seconds, read: func(f float64) time.Duration { return time.Duration(f * float64(time.Second)) },
		parse: time.ParseDuration, text: time.Duration.String,
	}
}

// field is the place of a limit in a Quota.
type field[N amount] struct {
	notation[N]
	bounds[N]
	of func(*Quota) *N
}

func (f field[N]) IsZero(q *Quota) bool   { return *f.of(q) == 0 }
func (f field[N]) Copy(to, from *Quota)   { *f.of(to) = *f.of(from) }
func (f field[N]) Less(a, b *Quota) bool  { return *f.of(a) < *f.of(b) }
func (f field[N]) Whole() bool            { return f.whole }
func (f field[N]) Number(q *Quota) string { return decimal(f.Value(q)) }
func (f field[N]) Value(q *Quota) float64 { return f.number(*f.of(q)) }
func (f field[N]) Text(q *Quota) string   { return f.text(*f.of(q)) }

func (f field[N]) Least() string {
	if f.least == 0 {
		return ""
	}
	return decimal(f.number(f.least))
}

func (f field[N]) Parse(q *Quota, text string) error {
	n, err := f.parse(text)
	if err == nil {
		*f.of(q) = n
	}
	return err
}

func (f field[N]) Below(q *Quota) (least string, below bool) {
	n := f.number(*f.of(q))
	return f.text(f.leastSet), !(n >= f.number(f.leastSet)) || math.IsInf(n, 0) // a NaN is not below
}

// accept compares the numbers as float64: 1e300 s overflows a time.Duration.
func (f field[N]) accept(asked float64, hi, q *Quota) (complaint string) {
	least, most := f.number(f.least), f.number(*f.of(hi))
	if f.whole {
		most = min(most, f.most)
	}
	if !(asked >= least && asked <= most) || f.whole && asked != math.Trunc(asked) {
		return fmt.Sprintf("must be from %s to %s%s", decimal(least), decimal(most), f.unit)
	}
	*f.of(q) = f.read(asked)
	return ""
}

// decimal writes a number as a caller would.
func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
