package jupyter

import (
	"encoding/json"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
)

// value passes on a value that the code shows.
func (e *execution) value(data json.RawMessage) error {
	var v job.ValueData
	if json.Unmarshal(data, &v) != nil {
		return nil
	}
	content := formsOf(v.Value)
	switch {
	case v.Main:
		if e.content.Silent {
			return nil
		}
		content["execution_count"] = e.count
		return e.publish("execute_result", content)
	case v.DisplayID != "":
		content["transient"] = fields{"display_id": v.DisplayID}
	default:
		content["transient"] = fields{}
	}
	if v.Update {
		return e.publish("update_display_data", content)
	}
	return e.publish("display_data", content)
}

// formsOf has the forms of a value that IPython has, too. Kaa's own ones, and the table of a data frame, are left out:
// clients would show them in the place of the others.
func formsOf(v job.Value) fields {
	forms, metadata := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	_, html := v.Data["text/html"]
	for kind, form := range v.Data {
		if strings.HasPrefix(kind, "application/vnd.kaa.") || kind == "application/json" && html {
			continue
		}
		forms[kind] = form
		if more, ok := v.Metadata[kind]; ok {
			metadata[kind] = more
		}
	}
	return fields{"data": forms, "metadata": metadata}
}
