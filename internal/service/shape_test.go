package service_test

import (
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/service"
)

func TestCheckJSON(t *testing.T) {
	t.Parallel()
	few, many := strings.Repeat("1,", 8000)+"1", strings.Repeat("{},", 9000)+"1"
	for name, tt := range map[string]struct {
		text              string
		all, top, topmost bool // whether CheckJSON takes it, and CheckTopJSON at the depths 3 and 1
	}{
		"few values":         {`{"a":[` + few + `]}`, true, true, true},
		"many values":        {`{"a":[` + many + `]}`, false, false, true},
		"many fields":        {`{` + strings.Repeat(`"a":1,`, 12000) + `"a":1}`, false, false, false},
		"many deep values":   {`{"a":[{"b":[` + many + `]}]}`, false, true, true},
		"many for its size":  {`{"a":[` + few + "," + few + `]}` + strings.Repeat(" ", 64*9000), true, true, true},
		"commas in a string": {`{"a":"` + strings.Repeat(`\",{[`, 9000) + `"}`, true, true, true},
		"deep":               {strings.Repeat("[", 128) + strings.Repeat("]", 128), true, true, true},
		"too deep":           {strings.Repeat("[", 129) + strings.Repeat("]", 129), false, true, true},
		"no JSON":            {`}}]]"`, true, true, true},
	} {
		for depth, want := range map[int]bool{0: tt.all, 3: tt.top, 1: tt.topmost} {
			err := service.CheckJSON([]byte(tt.text))
			if depth > 0 {
				err = service.CheckTopJSON([]byte(tt.text), depth)
			}
			if (err == nil) != want {
				t.Errorf("%s, depth %d: %v", name, depth, err)
			}
		}
	}
}
