package app_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
)

// TestSessionShowsItsLimits: all that hold, those of the configuration, too, at its opening and later; and the same of a fork.
func TestSessionShowsItsLimits(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_PROCESSES=77")
	opened := k.call(http.MethodPost, sessionsPath, fields{"limits": fields{"memoryBytes": 128 << 20, "callSeconds": 2.5}, "onEnd": "end"})
	limits, _ := opened.body["limits"].(map[string]any)
	for name, want := range map[string]float64{"memoryBytes": 128 << 20, "callSeconds": 2.5, "processes": 77, "outputBytes": 1 << 20} {
		if limits[name] != want {
			t.Errorf("%s: %v, want %v", name, limits[name], want)
		}
	}
	if _, has := limits["cpuSeconds"]; has || len(limits) < 10 {
		t.Errorf("all limits: %v", limits)
	}
	id := opened.str("id")
	k.in(id, "x = 1")
	fork := k.call(http.MethodPost, sessionsPath+"/"+id+"/fork", nil)
	copies, _ := fork.body["sessions"].([]any)
	if len(copies) != 1 {
		t.Fatalf("fork: %d %s", fork.status, fork.raw)
	}
	for _, one := range []string{id, copies[0].(map[string]any)["id"].(string)} {
		shown := k.call(http.MethodGet, sessionsPath+"/"+one, nil)
		if now, _ := shown.body["limits"].(map[string]any); !maps.Equal(now, limits) {
			t.Errorf("later: %s\nat first: %v", shown.raw, limits)
		}
	}
	if list := k.call(http.MethodGet, sessionsPath, nil); strings.Contains(list.raw, `"limits"`) || !strings.Contains(list.raw, id) {
		t.Errorf("the list: %s", list.raw)
	}
	if ended := k.call(http.MethodDelete, sessionsPath+"/"+id, nil); ended.status != http.StatusOK || ended.str("state") != "ended" {
		t.Errorf("in the end: %d %s", ended.status, ended.raw)
	}
}
