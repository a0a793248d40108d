package e2b

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

func TestJSONOfLiteral(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"[]": "[]", "{}": "{}", "[1, -2, 0.5, 1e-07, 1e+16, 12345678901234567890]": "[1,-2,0.5,1e-07,1e+16,12345678901234567890]",
		"[None, True, False]": "[null,true,false]", "{'a': [1, {'b': (2,)}], 'c': ()}": `{"a":[1,{"b":[2]}],"c":[]}`, "[(1, 2)]": "[[1,2]]",
		`['it\'s', "it's", 'a\\b\n\t\r', '\x00\xe9\u2028\U0001f40d', 'é']`: `["it's","it's","a\\b\n\t\r","\u0000é\u2028🐍","é"]`,
		// What JSON cannot have, and what is no list or dictionary.
		"{1: 2}": "", "{1, 2}": "", "[nan]": "", "[inf]": "", "[1j]": "", "[b'x']": "", "[<object object at 0x7f>]": "", "[...]": "", "[datetime.date(2020, 1, 1)]": "",
		"": "", "1": "", "'[]'": "", "(1, 2)": "", "[1": "", "[1]x": "", "[1 2]": "", "[1,]": "", "[, 1]": "", "[1, ]": "", "['a": "", `['\`: "", `['\x1']`: "", `['\q']`: "", `['\ud800']`: "",
		`['\U00110000']`: "", "{'a'}": "", "{'a': }": "", "{": "", "[01]": "", "[1.]": "", "[--1]": "", "[+1]": "", "[" + strings.Repeat("1", 65) + "]": "",
		strings.Repeat("[", 1e6): "", strings.Repeat("[", 101) + strings.Repeat("]", 101): "",
	} {
		got := jsonOfLiteral(text)
		if string(got) != want || got != nil && !json.Valid(got) {
			t.Errorf("%.40q: %s, want %s", text, got, want)
		}
	}
}

// TestResultOfLiteral: a list has json beside its text, and a form that the value has itself stays.
func TestResultOfLiteral(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ data, want string }{
		{`{"text/plain": "[1, 2]"}`, "[1,2]"},
		{`{"text/plain": "'[1, 2]'"}`, ""},
		{`{"text/plain": "[1, 2]", "application/json": {"own": 1}}`, `{"own": 1}`},
		{`{"text/plain": "[1, 2]", "text/html": "<b>"}`, ""},
	} {
		var v job.Value
		if err := json.Unmarshal([]byte(`{"data": `+tt.data+`}`), &v); err != nil {
			t.Fatal(err)
		}
		got, _ := resultLine(v)["json"].(json.RawMessage)
		if string(got) != tt.want {
			t.Errorf("%s: %s, want %s", tt.data, got, tt.want)
		}
	}
}
