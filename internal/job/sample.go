package job

import "time"

// SampleEvery is the time that a sample of the fleet is about, and SamplesFor the time for which samples are kept.
const (
	SampleEvery = 30 * time.Second
	SamplesFor  = time.Hour
)

// SampleNumber is the number of the sample that is about a time.
func SampleNumber(t time.Time) int64 { return t.UnixMilli() / SampleEvery.Milliseconds() }

// Sample is what queues and runners did in a short time.
type Sample struct {
	At     time.Time     `json:"at" doc:"Begin of the time that it is about."`
	Fleet  *FleetSample  `json:"fleet,omitempty" doc:"Absent if no process looked at the fleet in that time. Then depth, active and oldestAge of the queues are 0."`
	Queues []QueueSample `json:"queues" nullable:"false" doc:"Queues with jobs in that time, by name."`
}

// FleetSample is what the runners had at the time of a look.
type FleetSample struct {
	Runners     int64 `json:"runners" doc:"Runners that were alive."`
	Slots       int64 `json:"slots" doc:"Executions that they could have at once."`
	Busy        int64 `json:"busy" doc:"Executions that they had."`
	Parked      int64 `json:"parked" doc:"Interpreters that were ready."`
	Sessions    int64 `json:"sessions" doc:"Sessions with an interpreter."`
	MemoryBytes int64 `json:"memoryBytes" doc:"Memory in use where they run."`
	MemoryLimit int64 `json:"memoryLimitBytes" doc:"Memory that there is where they run."`
}

// QueueSample is what one queue did.
type QueueSample struct {
	Name         string  `json:"name" doc:"Name of the queue."`
	Depth        int64   `json:"depth" doc:"Jobs that waited for a runner, at the time of a look."`
	Active       int64   `json:"active" doc:"Jobs that runners executed, at the time of a look."`
	OldestAgeSec float64 `json:"oldestAge" doc:"Seconds for which the oldest waiting job had been ready to run, at the time of a look."`
	Accepted     int64   `json:"accepted" doc:"Jobs that were accepted in that time."`
	Ended        int64   `json:"ended" doc:"Executions that ended in that time."`
	Failed       int64   `json:"failed" doc:"Those of them that failed, or whose code did not end with the status ok."`
	WaitedMs     float64 `json:"waitedMs" doc:"Mean time for which the ended ones had waited for a runner, in milliseconds."`
	TookMs       float64 `json:"tookMs" doc:"Mean time that they ran, in milliseconds."`
}

// QueueCount is what a process counted of one queue.
type QueueCount struct {
	Accepted, Ended, Failed int64
	Waited, Took            time.Duration // of those that have ended, together
}
