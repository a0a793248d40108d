package config

import "reflect"

// Setting is a variable that a process reads.
type Setting struct {
	Name    string
	Default string // as it would be written
	Secret  bool   // its value is not to be shown
}

// Settings are all of them: the fields of Config with a tag, and those of the table of limits.
func Settings() (all []Setting) {
	secret := map[reflect.Type]bool{reflect.TypeFor[Secret](): true, reflect.TypeFor[[]Secret](): true}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if name, ok := f.Tag.Lookup("env"); ok {
			all = append(all, Setting{Name: name, Default: f.Tag.Get("envDefault"), Secret: secret[f.Type]})
		}
	}
	return append(all, quotaSettings()...)
}
