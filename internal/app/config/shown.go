package config

import (
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
)

// Shown is a setting with its value in force, as operators may see it.
type Shown struct {
	Setting
	Value string
	// Changed: the value is not that of an empty environment.
	Changed bool
}

// hidden replaces the value of a secret setting.
const hidden = "***"

// userInfo is the part of a URL with the name and password of a user.
var userInfo = regexp.MustCompile(`://[^/?#\s]*@`)

// Shown returns all settings with their values in force. The values of secret ones are hidden, and so are users
// and passwords in URLs.
func (c *Config) Shown() []Shown {
	unset, _ := Load(nil) // its values count, whether or not a server could start with them
	var all []Shown
	v, plain := reflect.ValueOf(*c), reflect.ValueOf(unset)
	settings := Settings()
	for _, f := range reflect.VisibleFields(v.Type()) {
		if _, ok := f.Tag.Lookup("env"); !ok {
			continue
		}
		s := settings[len(all)] // in the same order
		field := v.FieldByIndex(f.Index)
		value := hidden
		switch {
		case field.IsZero() || field.Kind() == reflect.Slice && field.Len() == 0:
			value = textOf(reflect.Zero(field.Type()))
		case !s.Secret:
			value = userInfo.ReplaceAllString(textOf(field), "://"+hidden+"@")
		}
		all = append(all, Shown{s, value, !reflect.DeepEqual(field.Interface(), plain.FieldByIndex(f.Index).Interface())})
	}
	quotas := []job.Quota{c.DefaultQuota(), c.MaxQuota()}
	before := []job.Quota{unset.DefaultQuota(), unset.MaxQuota()}
	for _, l := range job.LimitTable() {
		for i := range quotas {
			value := l.Text(&quotas[i])
			all = append(all, Shown{settings[len(all)], value, value != l.Text(&before[i])})
		}
	}
	return all
}

// textOf writes a value as its variable has it.
func textOf(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case Queues:
		var items []string
		for _, name := range x.Names() {
			items = append(items, fmt.Sprintf("%s:%d", name, x[name]))
		}
		return strings.Join(items, ",")
	case Runtimes:
		var items []string
		for _, r := range x {
			items = append(items, strings.TrimSuffix(r.Name+"="+r.Python+":"+strings.Join(r.Preload, ","), ":"))
		}
		return strings.Join(items, ";")
	case Plain:
		if len(x) == 0 {
			return "false"
		}
		return strings.Join(x, ",")
	case Secret, []Secret:
		return "" // only an unset one comes here
	case []string:
		return strings.Join(x, ",")
	case fmt.Stringer:
		return x.String()
	case encoding.TextMarshaler:
		if text, err := x.MarshalText(); err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(v.Interface())
}
