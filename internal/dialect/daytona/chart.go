package daytona

import (
	"encoding/json"
	"slices"
	"strconv"
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
// matplotlib has them, and categories their places. They have no units, and values of bars are texts.
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
			chart[axis] = numbersOf(ticks)
		}
	}
	elements, _ := chart["elements"].([]any)
	for _, one := range elements {
		element, _ := one.(map[string]any)
		if value, ok := element["value"].(float64); ok {
			element["value"] = strconv.FormatFloat(value, 'g', -1, 64)
		}
		if points, ok := element["points"].([]any); ok {
			element["points"] = pointsOf(points, chart["x_tick_labels"], chart["y_tick_labels"])
		}
	}
	return chart
}

// pointsOf returns those points of which both coordinates are known: the SDK for Python refuses a chart with another one.
func pointsOf(points []any, xs, ys any) []any {
	kept := []any{}
	for _, point := range points {
		pair, ok := point.([]any)
		if !ok || len(pair) != 2 {
			continue
		}
		x, xKnown := numberOf(pair[0], xs)
		if y, yKnown := numberOf(pair[1], ys); xKnown && yKnown {
			kept = append(kept, []any{x, y})
		}
	}
	return kept
}

func numbersOf(values []any) []any {
	kept := []any{}
	for _, value := range values {
		if n, ok := numberOf(value, nil); ok {
			kept = append(kept, n)
		}
	}
	return kept
}

// numberOf returns a time as days, and a category as its place among the labels of an axis.
func numberOf(value, labels any) (float64, bool) {
	if n, ok := value.(float64); ok {
		return n, true
	}
	text, ok := value.(string)
	if !ok {
		return 0, false
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if at, err := time.Parse(form, text); err == nil {
			return float64(at.UnixMicro()) / (24 * 3600 * 1e6), true
		}
	}
	names, _ := labels.([]any)
	i := slices.IndexFunc(names, func(name any) bool { label, ok := name.(string); return ok && label == text })
	return float64(i), i >= 0
}
