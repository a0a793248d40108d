package api

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
)

// KeyLimitsBody are the limits of a key. Their bounds are checked by job.KeyLimits.
type KeyLimitsBody struct {
	Rate          *float64      `json:"rate,omitempty" nullable:"true" doc:"Requests a second with this key, from 0.001 to 100,000." example:"50"`
	Burst         *int          `json:"burst,omitempty" nullable:"true" doc:"Requests at once. Default: rate, rounded down, at least 1." example:"100"`
	Concurrency   *int          `json:"concurrency,omitempty" nullable:"true" doc:"Jobs of the tenant that run at once. A job of this key waits beyond it. Executions in sessions do not count." example:"8"`
	Depth         *int          `json:"depth,omitempty" nullable:"true" doc:"Jobs and executions of the tenant that wait." example:"10000"`
	Sessions      *int          `json:"sessions,omitempty" nullable:"true" doc:"Live sessions of the tenant." example:"20"`
	SessionMemory *int64        `json:"sessionMemoryBytes,omitempty" nullable:"true" doc:"Bytes of memory that the live sessions of the tenant may take together, by their limits." example:"4294967296"`
	SessionDisk   *int64        `json:"sessionDiskBytes,omitempty" nullable:"true" doc:"The same for disk." example:"4294967296"`
	Ceilings      *CeilingsBody `json:"ceilings,omitempty" doc:"The most that a request may ask for. A default above it is lowered to it."`
	Runtimes      []string      `json:"runtimes,omitempty" nullable:"true" doc:"Runtimes that a request may use. The first one is that of requests which name none."`
	Egress        []string      `json:"egress,omitempty" nullable:"true" doc:"Destinations within which those of a request's network have to be, in the same form. Default: those of the operator (KAA_EGRESS)." example:"[\"*.example.com:443\"]"`
}

// TransformSchema allows null for none.
func (KeyLimitsBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Nullable = true
	return s
}

// CeilingsBody has a number for timeout, and for each limit of job.LimitTable, that the operator sets.
type CeilingsBody struct {
	asked job.QuotaRequest
}

// TransformSchema describes it to huma.
func (CeilingsBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Nullable = true
	for _, name := range job.CeilingNames() {
		s.Properties[name] = &huma.Schema{Type: huma.TypeNumber, Format: "double", Nullable: true, Description: "Ceiling of timeout, in seconds."}
	}
	for _, l := range job.LimitTable() {
		s.Properties[l.Name].Description = "Ceiling of limits." + l.Name + "."
		if l.Whole() {
			s.Properties[l.Name].Type, s.Properties[l.Name].Format = huma.TypeInteger, ""
		}
	}
	return s
}

// UnmarshalJSON reads it. The schema has been checked before.
func (b *CeilingsBody) UnmarshalJSON(text []byte) error {
	var given map[string]*float64
	if err := json.Unmarshal(text, &given); err != nil {
		return fmt.Errorf("ceilings: %w", err)
	}
	b.asked = numbers(given)
	return nil
}

// numbers leaves out what is null.
func numbers(given map[string]*float64) job.QuotaRequest {
	asked := job.QuotaRequest{}
	for name, number := range given {
		if number != nil {
			asked[name] = *number
		}
	}
	return asked
}

// MarshalJSON writes it for operators.
func (b CeilingsBody) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal(b.asked)
	if err != nil {
		return nil, fmt.Errorf("ceilings: %w", err)
	}
	return text, nil
}

// limits returns what the operator sets; nil if that is nothing.
func (b *KeyLimitsBody) limits() *job.KeyLimits {
	if b == nil {
		return nil
	}
	k := &job.KeyLimits{Rate: b.Rate, Burst: b.Burst, Concurrency: b.Concurrency, Depth: b.Depth, Sessions: b.Sessions, SessionMemory: b.SessionMemory, SessionDisk: b.SessionDisk, Runtimes: slices.Clone(b.Runtimes), Egress: slices.Clone(b.Egress)}
	if b.Ceilings != nil && len(b.Ceilings.asked) > 0 {
		k.Ceilings = b.Ceilings.asked
	}
	if k.IsZero() && k.Runtimes == nil && k.Egress == nil {
		return nil
	}
	return k
}

func keyLimitsView(k *job.KeyLimits) *KeyLimitsBody {
	if k.IsZero() {
		return nil
	}
	b := &KeyLimitsBody{Rate: k.Rate, Burst: k.Burst, Concurrency: k.Concurrency, Depth: k.Depth, Sessions: k.Sessions, SessionMemory: k.SessionMemory, SessionDisk: k.SessionDisk, Runtimes: k.Runtimes, Egress: k.Egress}
	if len(k.Ceilings) > 0 {
		b.Ceilings = &CeilingsBody{k.Ceilings}
	}
	return b
}
