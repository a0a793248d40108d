package bench

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is what a run has measured.
type Report struct {
	At      time.Time `json:"at"`
	Mode    string    `json:"mode"`
	Loop    string    `json:"loop"` // closed, open
	Rate    float64   `json:"rate,omitempty"`
	Workers int       `json:"workers"`
	// Seconds is the time from the end of the warm-up to the end of the last execution.
	Seconds float64   `json:"seconds"`
	Targets []Figures `json:"targets"`
	Bare    *Times    `json:"bare,omitempty"`
	Machine Machine   `json:"machine"`
}

// Figures are those of one Kaa.
type Figures struct {
	URL        string         `json:"url"`
	Executions int64          `json:"executions"`
	Errors     map[string]int `json:"errors,omitempty"`
	// PerSecond is the throughput.
	PerSecond float64 `json:"perSecond"`
	Times     Times   `json:"times"`
	// OfBare is the median as a share of that of a bare interpreter.
	OfBare float64 `json:"ofBare,omitempty"`
	// CPU is the processor time of an execution in milliseconds, with all that belongs to the Kaa, if that can be seen.
	CPU float64 `json:"cpuMs,omitempty"`
	// Redis is the commands that its Redis has executed for an execution, if that can be seen.
	Redis float64 `json:"redisCommands,omitempty"`
}

// Times are latencies in milliseconds.
type Times struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99.9"`
	Max   float64 `json:"max"`
}

func timesOf(h *hdrhistogram.Histogram) Times {
	ms := func(us int64) float64 { return float64(us) / 1000 }
	return Times{
		Count: h.TotalCount(), Mean: h.Mean() / 1000, P50: ms(h.ValueAtQuantile(50)), P90: ms(h.ValueAtQuantile(90)), P99: ms(h.ValueAtQuantile(99)),
		P999: ms(h.ValueAtQuantile(99.9)), Max: ms(h.Max()),
	}
}

func (l *load) report(began time.Time, took time.Duration, bare *hdrhistogram.Histogram, w *watch) Report {
	r := Report{At: began.UTC(), Mode: l.Mode, Loop: "closed", Rate: l.Rate, Workers: l.Workers, Seconds: took.Seconds(), Machine: w.machine}
	if l.Rate > 0 {
		r.Loop = "open"
	}
	if bare.TotalCount() > 0 {
		r.Bare = new(timesOf(bare))
	}
	for i, t := range l.targets {
		f := Figures{URL: l.Targets[i].URL, Executions: t.times.TotalCount(), Errors: t.errors, Times: timesOf(t.times)}
		f.PerSecond = float64(f.Executions) / took.Seconds()
		if r.Bare != nil && r.Bare.P50 > 0 {
			f.OfBare = f.Times.P50 / r.Bare.P50
		}
		if f.Executions > 0 && len(l.targets) == 1 {
			f.CPU = w.cpu.Seconds() * 1000 / float64(f.Executions)
			f.Redis = float64(w.commands) / float64(f.Executions)
		}
		r.Targets = append(r.Targets, f)
	}
	return r
}

// Rows returns a table for people: its head, and a row for each target and for the bare interpreter.
func (r Report) Rows() [][]string {
	rows := [][]string{{"TARGET", "EXECUTIONS", "ERRORS", "A_SECOND", "P50_ms", "P90", "P99", "P99.9", "MAX", "OF_BARE", "CPU_ms", "REDIS"}}
	figure := func(f float64) string {
		if f == 0 {
			return "-"
		}
		return fmt.Sprintf("%.2f", f)
	}
	times := func(t Times) []string {
		return []string{figure(t.P50), figure(t.P90), figure(t.P99), figure(t.P999), figure(t.Max)}
	}
	for _, f := range r.Targets {
		failures := 0
		for _, n := range f.Errors {
			failures += n
		}
		row := append([]string{f.URL, fmt.Sprint(f.Executions), fmt.Sprint(failures), fmt.Sprintf("%.1f", f.PerSecond)}, times(f.Times)...)
		rows = append(rows, append(row, figure(f.OfBare), figure(f.CPU), figure(f.Redis)))
	}
	if r.Bare != nil {
		row := append([]string{"bare interpreter", fmt.Sprint(r.Bare.Count), "0", "-"}, times(*r.Bare)...)
		rows = append(rows, append(row, "1.00", "-", "-"))
	}
	return rows
}
