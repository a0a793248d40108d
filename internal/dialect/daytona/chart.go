package daytona

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

const chartType = "application/vnd.kaa.chart+json"

// chartOf is the chart of a value as the SDKs know it, with its picture; nil if there is none.
func chartOf(v job.Value) json.RawMessage {
	var chart map[string]any
	if json.Unmarshal(v.Data[chartType], &chart) != nil || chart == nil {
		return nil
	}
	chart = translated(chart)
	var picture string
	if json.Unmarshal(v.Data["image/png"], &picture) == nil {
		chart["png"] = picture
	}
	data, err := json.Marshal(chart)
	if err != nil {
		return nil // it was JSON
	}
	return data
}

// translated changes what differs in Daytona's charts: their name for several axes, and that points are numbers: times are days since 1970, as
// matplotlib has them, and categories their places. They have no units.
func translated(chart map[string]any) map[string]any {
	if chart["type"] == "superchart" {
		chart["type"] = "composite_chart"
		elements, _ := chart["elements"].([]any)
		for _, one := range elements {
			if inner, ok := one.(map[string]any); ok {
				translated(inner)
			}
		}
		return chart
	}
	delete(chart, "x_unit")
	delete(chart, "y_unit")
	for _, axis := range []string{"x_ticks", "y_ticks"} {
		if ticks, ok := chart[axis].([]any); ok {
			for i := range ticks {
				ticks[i] = numberOf(ticks[i], nil)
			}
		}
	}
	elements, _ := chart["elements"].([]any)
	for _, one := range elements {
		element, _ := one.(map[string]any)
		points, _ := element["points"].([]any)
		for _, point := range points {
			if pair, ok := point.([]any); ok && len(pair) == 2 {
				pair[0], pair[1] = numberOf(pair[0], chart["x_tick_labels"]), numberOf(pair[1], chart["y_tick_labels"])
			}
		}
	}
	return chart
}

// numberOf returns a time as days, and a category as its place among the labels of an axis.
func numberOf(value, labels any) any {
	text, ok := value.(string)
	if !ok {
		return value
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if at, err := time.Parse(form, text); err == nil {
			return float64(at.UnixMicro()) / (24 * 3600 * 1e6)
		}
	}
	names, _ := labels.([]any)
	if i := slices.Index(names, value); i >= 0 {
		return i
	}
	return value
}
