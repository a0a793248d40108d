package api

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
)

// LimitsBody is what an execution may use: an object with a number for each limit of
// job.LimitTable that the caller sets. null stands for absent.
type LimitsBody struct {
	asked job.QuotaRequest
}

// TransformSchema describes it to huma.
func (LimitsBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Nullable = true
	for _, l := range job.LimitTable() {
		property := &huma.Schema{Type: huma.TypeNumber, Format: "double", Nullable: true, Description: l.Description()}
		if l.Whole() {
			property.Type, property.Format = huma.TypeInteger, ""
		}
		s.Properties[l.Name] = property
	}
	return s
}

// UnmarshalJSON reads it. The schema has been checked before.
func (b *LimitsBody) UnmarshalJSON(text []byte) error {
	var given map[string]*float64
	if err := json.Unmarshal(text, &given); err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	b.asked = numbers(given)
	return nil
}

// MarshalJSON writes it for the fingerprint of a request. The order of the table is that of all
// versions: another would make a repeated request a different one.
func (b LimitsBody) MarshalJSON() ([]byte, error) {
	text := bytes.NewBufferString("{")
	for _, l := range job.LimitTable() {
		if number, ok := b.asked[l.Name]; ok {
			if text.Len() > 1 {
				text.WriteByte(',')
			}
			value, err := json.Marshal(number)
			if err != nil {
				return nil, fmt.Errorf("limits.%s: %w", l.Name, err)
			}
			fmt.Fprintf(text, "%q:%s", l.Name, value)
		}
	}
	text.WriteByte('}')
	return text.Bytes(), nil
}

// limitsView shows limits that hold; nil if they are not known.
func limitsView(q job.Quota) *LimitsBody {
	if numbers := q.Numbers(); numbers != nil {
		return &LimitsBody{numbers}
	}
	return nil
}

// request returns the limits that the caller sets.
func (b *LimitsBody) request() job.QuotaRequest {
	if b == nil {
		return nil
	}
	return b.asked
}
